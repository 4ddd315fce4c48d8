//! Events that are stored in one document with the change they describe, until Kafka has acknowledged them.

use std::time::Duration;

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use common::id::RoomId;
use engines::error::Result;
use engines::mongo;
use futures_util::TryStreamExt;
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, CollectionOptions, WriteConcern};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::schema::LEASES;

/// An event that Kafka has not acknowledged, in its serialized form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxEvent {
    pub payload: String,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
}

/// The id of a document, and its event.
#[derive(Debug, Deserialize)]
pub struct OutboxEntry {
    #[serde(rename = "_id")]
    pub id: Bson,
    #[serde(rename = "pending")]
    pub event: OutboxEvent,
}

impl OutboxEntry {
    /// The room, which is a part of the id in every such collection.
    pub fn room(&self) -> Option<RoomId> {
        self.id.as_document()?.get_i64("room").ok().map(RoomId)
    }
}

/// Limit of the count of pending events. The cost of a count grows with its result.
const MAX_COUNT: u64 = 100_000;

/// The time in an event's id, which is a UUIDv7.
fn created_at(event: &Document) -> Option<DateTime<Utc>> {
    let Bson::Binary(id) = event.get("event_id")? else { return None };
    let (seconds, nanos) = uuid::Uuid::from_slice(&id.bytes).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// A collection whose documents hold events in the field `pending`.
#[derive(Clone)]
pub struct OutboxCollection {
    documents: Collection<OutboxEntry>,
    /// With write concern majority, whatever the URL says: a failover must not bring back events that are published.
    cleared: Collection<Document>,
    leases: Collection<Document>,
    name: &'static str,
    /// Identifies this process as the owner of a lease.
    owner: bson::Uuid,
}

impl OutboxCollection {
    pub fn new(database: &Database, name: &'static str) -> Self {
        let majority = mongo::majority_reads();
        let safe = WriteConcern::builder().w(Acknowledgment::Majority).build();
        let safe = CollectionOptions::builder().write_concern(safe).build();
        Self {
            documents: database.collection_with_options(name, majority),
            cleared: database.collection_with_options(name, safe),
            leases: database.collection(LEASES),
            name,
            owner: bson::Uuid::new(),
        }
    }

    /// The name of the collection.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Pending events with ids below `before`, oldest first, at most `limit`.
    pub async fn overdue(&self, before: bson::Uuid, limit: i64) -> Result<Vec<OutboxEntry>> {
        let filter = doc! {"event_id": {"$lt": before}, "pending": {"$exists": true}};
        let found = self.documents.find(filter).sort(doc! {"event_id": 1}).limit(limit).await?;
        Ok(found.try_collect().await?)
    }

    /// The number of pending events, counted up to [`MAX_COUNT`], and the time of the oldest.
    pub async fn backlog(&self) -> Result<(u64, Option<DateTime<Utc>>)> {
        // The condition on `event_id` selects the partial index, which holds pending events only.
        let filter = doc! {"event_id": {"$gt": bson::Uuid::from_bytes([0; 16])}, "pending": {"$exists": true}};
        let pending = self.cleared.count_documents(filter.clone()).limit(MAX_COUNT).await?;
        let oldest = self.cleared.find_one(filter).sort(doc! {"event_id": 1});
        let oldest = oldest.projection(doc! {"event_id": 1}).await?;
        Ok((pending, oldest.and_then(|event| created_at(&event))))
    }

    /// Removes the events of these documents after Kafka has acknowledged them.
    pub async fn clear(&self, ids: &[Bson]) -> Result<()> {
        self.cleared.update_many(doc! {"_id": {"$in": ids}}, doc! {"$unset": {"pending": ""}}).await?;
        Ok(())
    }

    /// Takes or renews the lease on publishing overdue events; false while another replica holds it at `now`.
    pub async fn lease(&self, now: DateTime<Utc>, lifetime: Duration) -> Result<bool> {
        let free = doc! {"_id": self.name, "$or": [{"owner": self.owner}, {"until": {"$lt": bson::DateTime::from_chrono(now)}}]};
        let until = bson::DateTime::from_chrono(now + lifetime);
        let taken = self.leases.update_one(free, doc! {"$set": {"owner": self.owner, "until": until}}).upsert(true);
        match taken.await {
            Ok(_) => Ok(true),
            // The upsert found no free lease and met the `_id` of the one that another replica holds.
            Err(e) if matches!(*e.kind, ErrorKind::Write(WriteFailure::WriteError(_))) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_cleared_on_a_majority_whatever_the_url_says() {
        let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:1/?w=1").await.unwrap();
        let outbox = OutboxCollection::new(&client.database("test"), "room_log");
        let concern = outbox.cleared.write_concern().and_then(|concern| concern.w.clone());
        assert_eq!(concern, Some(Acknowledgment::Majority));
    }
}
