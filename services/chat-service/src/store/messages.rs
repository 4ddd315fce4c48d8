//! Reads of messages. Only the writer and the backfill change them.

use std::collections::{BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::{Document, doc};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::Reads;
use futures_util::TryStreamExt;
use mongodb::{ClientSession, Database};

use super::schema::{MESSAGES, kept_messages};
use crate::domain::Message;

/// The collection `messages`.
#[derive(Clone)]
pub struct Messages {
    all: Reads<Message>,
}

/// The part of a room's messages that a list returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListCursor {
    /// The newest messages, after this number of even newer ones.
    Skip(u64),
    /// The messages directly before a position.
    Before(i64),
    /// The messages directly after a position.
    After(i64),
}

impl Messages {
    pub fn new(database: &Database) -> Self {
        Self { all: Reads::new(database, MESSAGES) }
    }

    /// The messages of a room that are not deleted, oldest first, at most `limit`, within a session.
    pub async fn list(
        &self,
        room: RoomId,
        cursor: ListCursor,
        limit: i64,
        session: &mut ClientSession,
    ) -> Result<Vec<Message>> {
        let mut filter = kept_messages(room);
        let (skip, newest_first) = match cursor {
            ListCursor::Skip(n) => (n, true),
            ListCursor::Before(position) => {
                filter.insert("seq", doc! {"$lt": position});
                (0, true)
            }
            ListCursor::After(position) => {
                filter.insert("seq", doc! {"$gt": position});
                (0, false)
            }
        };
        let order = doc! {"seq": if newest_first { -1 } else { 1 }};
        let mut found = self.all.find(filter).sort(order).skip(skip).limit(limit).session(&mut *session).await?;
        let mut messages: Vec<Message> = found.stream(session).try_collect().await?;
        if newest_first {
            messages.reverse();
        }
        Ok(messages)
    }

    /// All messages of a room before a position, deleted ones included, newest first, at most `limit`.
    pub async fn before(&self, room: RoomId, position: i64, limit: usize) -> Result<Vec<Message>> {
        let found = self.all.find(doc! {"room_id": room.0, "seq": {"$lt": position}});
        Ok(found.sort(doc! {"seq": -1}).limit(limit as i64).await?.try_collect().await?)
    }

    /// The message with an id in hexadecimal form; `None` for an unknown or malformed id.
    pub async fn get(&self, id: &str) -> Result<Option<Message>> {
        Ok(self.by_hex_ids(&[id]).await?.into_values().next())
    }

    /// The message that a user sent to a room with this id of their client.
    pub async fn sent(&self, room: RoomId, by: UserId, client_message_id: &str) -> Result<Option<Message>> {
        let sent = doc! {"room_id": room.0, "user_id": by.0, "client_message_id": client_message_id};
        Ok(self.all.find_one(sent).await?)
    }

    /// The message with an id. No majority is asked: a new primary may not return a message that the client knows.
    pub async fn get_unconfirmed(&self, id: ObjectId) -> Result<Option<Message>> {
        Ok(self.all.find_one(doc! {"_id": id}).await?)
    }

    /// The message with an id, after a majority was asked.
    pub async fn get_confirmed(&self, id: ObjectId) -> Result<Option<Message>> {
        let mut session = self.all.confirmed_session().await?;
        Ok(self.all.find_one(doc! {"_id": id}).session(&mut session).await?)
    }

    /// Messages by their ids, within a session.
    pub async fn by_ids_in(&self, ids: &[ObjectId], session: &mut ClientSession) -> Result<HashMap<ObjectId, Message>> {
        let mut found = self.all.find(doc! {"_id": {"$in": ids}}).session(&mut *session).await?;
        Ok(found.stream(session).map_ok(|message| (message.id, message)).try_collect().await?)
    }

    /// Messages by ids in hexadecimal form. Malformed ids are skipped. If one is not found, a majority is asked: the client may know a
    /// message that a new primary does not return yet.
    pub async fn by_hex_ids(&self, ids: &[impl AsRef<str>]) -> Result<HashMap<ObjectId, Message>> {
        let ids: BTreeSet<ObjectId> = ids.iter().filter_map(|id| ObjectId::parse_str(id).ok()).collect();
        let ids: Vec<ObjectId> = ids.into_iter().collect();
        let found = self.find(doc! {"_id": {"$in": &ids}}).await?;
        if found.len() == ids.len() {
            return Ok(found);
        }
        self.by_ids_in(&ids, &mut self.all.confirmed_session().await?).await
    }

    /// The messages that match a filter, by their ids.
    pub async fn find(&self, filter: Document) -> Result<HashMap<ObjectId, Message>> {
        let found = self.all.find(filter).await?;
        Ok(found.map_ok(|message| (message.id, message)).try_collect().await?)
    }
}
