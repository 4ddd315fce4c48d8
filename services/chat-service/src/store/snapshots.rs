//! Stored positions of a user in many rooms, for ids and cursors that would be too long.

use std::time::Duration;

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use common::id::UserId;
use engines::error::Result;
use mongodb::{Collection, Database};
use platform::task::run_detached;

use super::clock::StoreClock;
use super::positions::Positions;
use super::schema::SNAPSHOTS;

/// Age at which a snapshot in use is renewed. The lifetime of a snapshot is an hour longer than that of its ids: half of it may pass
/// before it is read, and half of it before the stream renews it.
pub const RENEWED_AFTER: Duration = Duration::from_secs(1_800);

/// The rooms of a snapshot that weigh as much as a small change: 2 to 10 bytes each.
const ROOMS_PER_CHANGE: usize = 250;

/// The id of a snapshot: random, so that it cannot be guessed.
pub type SnapshotId = uuid::Uuid;

/// The collection `stream_snapshots`.
#[derive(Clone)]
pub struct Snapshots {
    all: Collection<Document>,
    clock: StoreClock,
}

impl Snapshots {
    pub fn new(database: &Database, clock: StoreClock) -> Self {
        Self { all: database.collection(SNAPSHOTS), clock }
    }

    /// The changes as which a snapshot of so many rooms counts in its user's budget, beside the one of the request.
    pub const fn further_changes(rooms: usize) -> usize {
        rooms / ROOMS_PER_CHANGE
    }

    /// Stores positions of a user.
    pub async fn insert(&self, user: UserId, positions: &Positions) -> Result<SnapshotId> {
        let id = SnapshotId::new_v4();
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: positions.encode() };
        let snapshot = doc! {"_id": bson_id(id), "user_id": user.0, "positions": bytes, "at": self.now()};
        let all = self.all.clone();
        run_detached(async move { all.insert_one(snapshot).await }).await?;
        Ok(id)
    }

    /// The stored positions, if they belong to the user and have not expired. Renews their lifetime.
    pub async fn get(&self, id: SnapshotId, user: UserId) -> Result<Option<Positions>> {
        let filter = doc! {"_id": bson_id(id), "user_id": user.0};
        let Some(found) = self.all.find_one(filter).await? else { return Ok(None) };
        // When thousands of streams come back at once, none of them has to write.
        if found.get_datetime("at").is_ok_and(|at| self.is_old(*at)) {
            self.renew(id).await?;
        }
        Ok(found.get_binary_generic("positions").ok().and_then(|positions| Positions::decode(positions)))
    }

    /// Renews the lifetime of a snapshot.
    pub async fn renew(&self, id: SnapshotId) -> Result<()> {
        let (all, renewal) = (self.all.clone(), self.renewal());
        run_detached(async move { all.update_one(doc! {"_id": bson_id(id)}, renewal).await }).await?;
        Ok(())
    }

    /// Whether a snapshot's lifetime should be renewed, which is days.
    fn is_old(&self, at: bson::DateTime) -> bool {
        self.now().checked_duration_since(at).is_some_and(|age| age > RENEWED_AFTER)
    }

    fn renewal(&self) -> Document {
        doc! {"$set": {"at": self.now()}}
    }

    fn now(&self) -> bson::DateTime {
        bson::DateTime::from_chrono(self.clock.now())
    }
}

fn bson_id(id: SnapshotId) -> bson::Uuid {
    bson::Uuid::from_bytes(id.into_bytes())
}
