//! Stored positions of a user in many rooms, for ids and cursors that would be too long.

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use common::id::UserId;
use engines::error::Result;
use mongodb::{Collection, Database};
use platform::task::run_detached;

use super::positions::Positions;
use super::schema::SNAPSHOTS;

/// The id of a snapshot: random, so that it cannot be guessed.
pub type SnapshotId = uuid::Uuid;

/// The collection `stream_snapshots`.
#[derive(Clone)]
pub struct Snapshots {
    all: Collection<Document>,
}

impl Snapshots {
    pub fn new(database: &Database) -> Self {
        Self { all: database.collection(SNAPSHOTS) }
    }

    /// Stores positions of a user.
    pub async fn insert(&self, user: UserId, positions: &Positions) -> Result<SnapshotId> {
        let id = SnapshotId::new_v4();
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: positions.encode() };
        let snapshot = doc! {"_id": bson_id(id), "user_id": user.0, "positions": bytes, "at": bson::DateTime::now()};
        let all = self.all.clone();
        run_detached(async move { all.insert_one(snapshot).await }).await?;
        Ok(id)
    }

    /// The stored positions, if they belong to the user and have not expired. Renews their lifetime.
    pub async fn get(&self, id: SnapshotId, user: UserId) -> Result<Option<Positions>> {
        let filter = doc! {"_id": bson_id(id), "user_id": user.0};
        let found = self.all.find_one_and_update(filter, renewal()).await?;
        Ok(found.and_then(|found| Positions::decode(found.get_binary_generic("positions").ok()?)))
    }

    /// Renews the lifetime of a snapshot.
    pub async fn renew(&self, id: SnapshotId) -> Result<()> {
        let all = self.all.clone();
        run_detached(async move { all.update_one(doc! {"_id": bson_id(id)}, renewal()).await }).await?;
        Ok(())
    }
}

fn bson_id(id: SnapshotId) -> bson::Uuid {
    bson::Uuid::from_bytes(id.into_bytes())
}

fn renewal() -> Document {
    doc! {"$set": {"at": bson::DateTime::now()}}
}
