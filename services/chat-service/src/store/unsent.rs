//! Events that stand beside the change they tell of, until Kafka has them: in the rooms' logs, and of reads.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::RoomId;
use futures_util::TryStreamExt;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, WriteConcern};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::schema::LEASES;
use super::time;

/// An event that Kafka does not have yet, ready to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    pub payload: String,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
}

/// A document with an event that was not sent, or of which nobody knows.
#[derive(Debug, Deserialize)]
pub struct Unsent {
    #[serde(rename = "_id")]
    pub id: Bson,
    pub pending: Pending,
}

impl Unsent {
    /// The room is a part of every such document's id.
    pub fn room(&self) -> Option<RoomId> {
        self.id.as_document()?.get_i64("room").ok().map(RoomId)
    }
}

/// More than this is simply much; a count costs what it counts.
const COUNTED: u64 = 100_000;

/// An event's id begins with the time at which it was made.
fn made_at(event: &Document) -> Option<DateTime<Utc>> {
    let Bson::Binary(id) = event.get("event_id")? else { return None };
    let (seconds, nanos) = uuid::Uuid::from_slice(&id.bytes).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// One collection with such documents.
#[derive(Clone)]
pub struct UnsentEvents {
    documents: Collection<Unsent>,
    /// To clear marks: a clear that is lost costs a repeat and nothing else.
    cleared: Collection<Document>,
    leases: Collection<Document>,
    name: &'static str,
    /// This process, among those that want the lease.
    owner: bson::Uuid,
}

impl UnsentEvents {
    pub fn of(database: &Database, name: &'static str) -> Self {
        let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        let once = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
        let once = CollectionOptions::builder().write_concern(once).build();
        Self {
            documents: database.collection_with_options(name, majority),
            cleared: database.collection_with_options(name, once),
            leases: database.collection(LEASES),
            name,
            owner: bson::Uuid::new(),
        }
    }

    /// Events older than `before` that Kafka does not have, oldest first.
    pub async fn overdue(&self, before: bson::Uuid, limit: i64) -> Result<Vec<Unsent>> {
        let filter = doc! {"event_id": {"$lt": before}, "pending": {"$exists": true}};
        let found = self.documents.find(filter).sort(doc! {"event_id": 1}).limit(limit).await?;
        Ok(found.try_collect().await?)
    }

    /// The collection.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many events Kafka does not have, up to [`COUNTED`], and since when the oldest of them waits.
    pub async fn backlog(&self) -> Result<(u64, Option<DateTime<Utc>>)> {
        // The first condition chooses the index, which holds nothing but these.
        let filter = doc! {"event_id": {"$gt": bson::Uuid::from_bytes([0; 16])}, "pending": {"$exists": true}};
        let pending = self.cleared.count_documents(filter.clone()).limit(COUNTED).await?;
        let oldest = self.cleared.find_one(filter).sort(doc! {"event_id": 1}).projection(doc! {"event_id": 1}).await?;
        Ok((pending, oldest.and_then(|event| made_at(&event))))
    }

    /// Notes that Kafka has these.
    pub async fn clear(&self, ids: &[Bson]) -> Result<()> {
        self.cleared.update_many(doc! {"_id": {"$in": ids}}, doc! {"$unset": {"pending": ""}}).await?;
        Ok(())
    }

    /// Takes the lease on sending overdue events again, or prolongs it; false while another replica has it.
    pub async fn lease(&self, time: Duration) -> Result<bool> {
        let free = doc! {"_id": self.name, "$or": [{"owner": self.owner}, {"until": {"$lt": bson::DateTime::now()}}]};
        let until = time::to_bson(Utc::now() + time);
        let taken = self.leases.update_one(free, doc! {"$set": {"owner": self.owner, "until": until}}).upsert(true);
        match taken.await {
            Ok(_) => Ok(true),
            // The upsert met the lease of another.
            Err(e) if matches!(*e.kind, ErrorKind::Write(WriteFailure::WriteError(_))) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
