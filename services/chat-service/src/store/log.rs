//! The rooms' logs and their heads. Read with majority: what is visible but not yet safe may vanish with its server.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, WriteConcern};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::time;
use super::{HEADS, LOG};
use crate::domain::{Kind, MessageType};

/// Where something stands: `_id` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub room: RoomId,
    /// 1, 2, 3 … in commit order.
    pub at: i64,
}

/// One thing that happened in a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "_id")]
    pub place: Place,
    pub kind: Kind,
    pub message_id: ObjectId,
    /// Who did it.
    pub by: UserId,
    pub event_id: bson::Uuid,
    /// The event, until Kafka has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

/// An event that Kafka does not have yet, ready to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    pub payload: String,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
}

/// What is known of a room without looking at its messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "_id")]
    pub room: RoomId,
    /// The last position taken.
    pub position: i64,
    #[serde(default)]
    pub messages: i64,
    #[serde(default)]
    pub deleted: i64,
    /// The newest message that is not deleted.
    pub last: Option<Last>,
    #[serde(default, with = "time::optional")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl Head {
    /// Messages that are not deleted.
    pub fn total(&self) -> i64 {
        self.messages - self.deleted
    }
}

/// The message that a room list shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Last {
    pub id: ObjectId,
    pub user_id: UserId,
    pub content: String,
    pub message_type: MessageType,
    #[serde(with = "time")]
    pub created_at: DateTime<Utc>,
}

/// The collections `room_log` and `room_heads`.
#[derive(Clone)]
pub struct Log {
    entries: Collection<Entry>,
    heads: Collection<Head>,
    /// To clear marks: a clear that is lost costs a repeat and nothing else.
    cleared: Collection<Document>,
    leases: Collection<Document>,
    /// This process, among those that want a lease.
    owner: bson::Uuid,
}

impl Log {
    pub fn new(database: &Database) -> Self {
        let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        let fast = CollectionOptions::builder()
            .write_concern(WriteConcern::builder().w(Acknowledgment::Nodes(1)).build())
            .build();
        Self {
            entries: database.collection_with_options(LOG, majority.clone()),
            heads: database.collection_with_options(HEADS, majority),
            cleared: database.collection_with_options(LOG, fast),
            leases: database.collection("chat_leases"),
            owner: bson::Uuid::new(),
        }
    }

    /// The head of a room; none where nothing has happened yet.
    pub async fn head(&self, room: RoomId) -> Result<Option<Head>> {
        Ok(self.heads.find_one(doc! {"_id": room.0}).await?)
    }

    /// The heads of many rooms: one round trip.
    pub async fn heads(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, Head>> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let heads = self.heads.find(doc! {"_id": {"$in": ids}}).await?;
        Ok(heads.map_ok(|head| (head.room, head)).try_collect().await?)
    }

    /// What happened in a room after a position, in order, at most `limit`.
    pub async fn after(&self, room: RoomId, position: i64, limit: i64) -> Result<Vec<Entry>> {
        // `_id` is a document: a range over it is a range of positions within the room.
        let (from, to) = (doc! {"room": room.0, "at": position}, doc! {"room": room.0, "at": i64::MAX});
        let entries = self
            .entries
            .find(doc! {"_id": {"$gt": from, "$lte": to}})
            .sort(doc! {"_id": 1})
            .limit(limit)
            .projection(doc! {"pending": 0})
            .await?;
        Ok(entries.try_collect().await?)
    }

    /// The entries of events that are still marked as pending.
    pub async fn pending(&self, events: &[bson::Uuid]) -> Result<Vec<Entry>> {
        let filter = doc! {"event_id": {"$in": events}, "pending": {"$exists": true}};
        Ok(self.entries.find(filter).await?.try_collect().await?)
    }

    /// Events older than `before` that Kafka does not have, oldest first.
    pub async fn overdue(&self, before: bson::Uuid, limit: i64) -> Result<Vec<Entry>> {
        let filter = doc! {"event_id": {"$lt": before}, "pending": {"$exists": true}};
        let found = self.entries.find(filter).sort(doc! {"event_id": 1}).limit(limit).await?;
        Ok(found.try_collect().await?)
    }

    /// Takes the lease on sending overdue events again, or prolongs it; false while another replica has it.
    pub async fn lease_sweep(&self, time: Duration) -> Result<bool> {
        let free = doc! {"_id": "sweeper", "$or": [{"owner": self.owner}, {"until": {"$lt": bson::DateTime::now()}}]};
        let until = time::to_bson(Utc::now() + time);
        let taken =
            self.leases.update_one(free, doc! {"$set": {"owner": self.owner, "until": until}}).upsert(true).await;
        match taken {
            Ok(_) => Ok(true),
            // The upsert met the lease of another.
            Err(e) if matches!(*e.kind, ErrorKind::Write(WriteFailure::WriteError(_))) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Notes that Kafka has these.
    pub async fn clear(&self, places: &[Place]) -> Result<()> {
        let ids: Vec<_> = places.iter().map(|place| doc! {"room": place.room.0, "at": place.at}).collect();
        self.cleared.update_many(doc! {"_id": {"$in": ids}}, doc! {"$unset": {"pending": ""}}).await?;
        Ok(())
    }
}
