//! The rooms' logs and their heads. Read with majority: what is visible but not yet safe may vanish with its server.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Bson, doc};
use mongodb::options::{CollectionOptions, ReadConcern};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::{HEADS, LOG, Pending, time};
use crate::domain::{Kind, MessageType, Reacted};

/// Where something stands: `_id` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub room: RoomId,
    /// 1, 2, 3 … in commit order.
    pub at: i64,
}

impl Place {
    /// As it is stored.
    pub fn id(self) -> Bson {
        doc! {"room": self.room.0, "at": self.at}.into()
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reacted: Option<Reacted>,
    /// The event, until Kafka has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
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
}

impl Log {
    pub fn new(database: &Database) -> Self {
        let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        Self {
            entries: database.collection_with_options(LOG, majority.clone()),
            heads: database.collection_with_options(HEADS, majority),
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

    /// The last positions of rooms in which something has happened: one round trip.
    pub async fn positions(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        #[derive(Deserialize)]
        struct Position {
            #[serde(rename = "_id")]
            room: RoomId,
            position: i64,
        }
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let heads = self.heads.clone_with_type::<Position>();
        let heads = heads.find(doc! {"_id": {"$in": ids}}).projection(doc! {"position": 1}).await?;
        Ok(heads.map_ok(|head| (head.room, head.position)).try_collect().await?)
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
}
