//! How far each member has read each room.

use std::collections::HashMap;

use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::MESSAGES;
use super::schema::MARKS;
use crate::domain::Message;

/// Unread messages are counted exactly up to this, and no further.
pub const UNREAD_CAP: i64 = 1_000;

/// A reader's mark in a room.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Everything up to this position is read.
    #[serde(default)]
    pub up_to: i64,
    /// Positions after it that were read one by one.
    #[serde(default)]
    pub read: Vec<i64>,
}

/// The collection `room_marks`.
#[derive(Clone)]
pub struct Marks {
    marks: Collection<Document>,
    messages: Collection<Document>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: Key,
    #[serde(flatten)]
    mark: Mark,
}

#[derive(Deserialize)]
struct Key {
    room: RoomId,
}

#[derive(Deserialize)]
struct Count {
    room: i64,
    unread: i64,
}

impl Marks {
    pub fn new(database: &Database) -> Self {
        Self { marks: database.collection(MARKS), messages: database.collection(MESSAGES) }
    }

    /// How many messages of others a reader has not read, for many rooms: two round trips, whatever their history.
    pub async fn unread(&self, user: UserId, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let marks = self.of(user, rooms).await?;
        let mut parts = rooms.iter().map(|room| {
            let mark = marks.get(room).cloned().unwrap_or_default();
            count(*room, user, &mark)
        });
        let mut pipeline = parts.next().unwrap_or_default();
        pipeline.extend(parts.map(|part| doc! {"$unionWith": {"coll": MESSAGES, "pipeline": part}}));
        let counts = self.messages.aggregate(pipeline).with_type::<Count>().await?;
        Ok(counts.map_ok(|count| (RoomId(count.room), count.unread)).try_collect().await?)
    }

    /// Moves a reader's mark to a position; how many messages were unread before it, counted as [`Self::unread`] does.
    pub async fn read_all(&self, user: UserId, room: RoomId, position: i64) -> Result<i64> {
        let unread = self.unread(user, &[room]).await?;
        let moved = doc! {"$max": {"up_to": position}, "$pull": {"read": {"$lte": position}}};
        self.marks.update_one(doc! {"_id": key(room, user)}, moved).upsert(true).await?;
        Ok(unread.get(&room).copied().unwrap_or(0))
    }

    /// Notes single messages as read; how many of them were not read before. One's own are no matter of reading.
    pub async fn read(&self, user: UserId, room: RoomId, messages: Vec<Message>) -> Result<i64> {
        let mark = self.of(user, &[room]).await?.remove(&room).unwrap_or_default();
        let others = messages.iter().filter(|message| message.user_id != user);
        let new: Vec<i64> = others
            .filter_map(|message| message.seq)
            .filter(|seq| *seq > mark.up_to && !mark.read.contains(seq))
            .collect();
        let noted = doc! {"$addToSet": {"read": {"$each": &new}}};
        self.marks.update_one(doc! {"_id": key(room, user)}, noted).upsert(true).await?;
        Ok(new.len() as i64)
    }

    async fn of(&self, user: UserId, rooms: &[RoomId]) -> Result<HashMap<RoomId, Mark>> {
        let ids: Vec<_> = rooms.iter().map(|room| key(*room, user)).collect();
        let found = self.marks.clone_with_type::<Stored>().find(doc! {"_id": {"$in": ids}}).await?;
        Ok(found.map_ok(|stored| (stored.id.room, stored.mark)).try_collect().await?)
    }
}

fn key(room: RoomId, user: UserId) -> Document {
    doc! {"room": room.0, "user": user.0}
}

/// Counts at most [`UNREAD_CAP`] entries of the index `room_seq`, wherever in the history the mark stands.
fn count(room: RoomId, user: UserId, mark: &Mark) -> Vec<Document> {
    let unread = doc! {
        "room_id": room.0,
        "seq": {"$gt": mark.up_to, "$nin": &mark.read},
        "user_id": {"$ne": user.0},
        "is_deleted": {"$ne": true},
    };
    vec![
        doc! {"$match": unread},
        doc! {"$limit": UNREAD_CAP},
        doc! {"$count": "unread"},
        doc! {"$set": {"room": room.0, "unread": {"$toLong": "$unread"}}},
    ]
}
