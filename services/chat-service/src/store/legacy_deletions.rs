//! Deletions by the original of messages that have positions.
//!
//! A deletion of this service takes a position in the room's log, and the message says so (`deletion_logged`). A deletion of
//! the original only marks the message as deleted. Following it appends the missing entry, in one transaction with the head.

use std::collections::HashSet;

use bson::oid::ObjectId;
use bson::{Document, doc};
use common::error::Error;
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::{self, describe};
use futures_util::TryStreamExt;
use mongodb::options::{Hint, ReadConcern, ReturnDocument};
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;

use super::legacy::{MAX_TRIES, PAGE};
use super::legacy_marks::{self, Unmarked};
use super::log::{Entry, Head, LastMessage, LogPosition};
use super::schema::{HEADS, LOG, MESSAGES, UPLOADS, kept_messages};
use super::uploads::{discard, sent_in};
use crate::domain::{EntryKind, Message};

/// The field of a deleted message whose deletion the room's log and head contain.
pub const DELETION_LOGGED: &str = "deletion_logged";

const INDEX: &str = "unlogged_deletions";

#[derive(Clone)]
pub(super) struct LegacyDeletions {
    database: Database,
    messages: Collection<Document>,
    heads: Collection<Head>,
    entries: Collection<Entry>,
    uploads: Collection<Document>,
}

/// A message that the original deleted.
#[derive(Deserialize)]
struct Deleted {
    #[serde(rename = "_id")]
    id: ObjectId,
    seq: i64,
    user_id: UserId,
    deleted_by: Option<UserId>,
}

impl LegacyDeletions {
    pub fn new(database: &Database) -> Self {
        let majority = mongo::majority_reads();
        Self {
            database: database.clone(),
            messages: database.collection_with_options(MESSAGES, majority.clone()),
            heads: database.collection_with_options(HEADS, majority.clone()),
            entries: database.collection_with_options(LOG, majority),
            uploads: database.collection(UPLOADS),
        }
    }

    /// Creates the index of the deletions to follow. Messages that were deleted before the takeover are marked first: earlier
    /// releases set no mark. Those that the original deletes meanwhile are followed.
    pub async fn prepare(&self) -> Result<Unmarked> {
        let unlogged = doc! {"is_deleted": true, DELETION_LOGGED: null};
        let numbered = doc! {"seq": {"$gt": 0}, "is_deleted": true, DELETION_LOGGED: null};
        if !self.messages.list_index_names().await?.iter().any(|name| name == INDEX) {
            let mut before = numbered.clone();
            before.insert("deleted_at", doc! {"$not": {"$gte": legacy_marks::takeover()}});
            self.messages.update_many(before, doc! {"$set": {DELETION_LOGGED: true}}).await?;
            legacy_marks::create(&self.messages, INDEX, doc! {"seq": 1, "room_id": 1}, unlogged).await?;
        }
        Ok(Unmarked { name: INDEX, filter: numbered })
    }

    /// Appends the missing entries of a room's log.
    ///
    /// # Errors
    /// Returns 503 if other replicas write to the room for too long.
    pub async fn follow(&self, room: RoomId) -> Result<()> {
        for _ in 0..MAX_TRIES {
            let deleted = self.unlogged(room).await?;
            if deleted.is_empty() {
                return Ok(());
            }
            // Before the transaction: entries never change, and the look-up takes long in a room with many later ones.
            let known = self.logged_without_mark(room, &deleted).await?;
            match self.log(room, &deleted, &known).await {
                Ok(()) => tracing::info!(%room, messages = deleted.len(), "followed deletions of the original"),
                Err(e) => tracing::debug!(error = describe(&e), %room, "another replica writes to the room"),
            }
        }
        Err(Error::unavailable("mongodb", "other replicas are writing to the room").into())
    }

    async fn unlogged(&self, room: RoomId) -> Result<Vec<Deleted>> {
        let filter = doc! {"seq": {"$gt": 0}, "room_id": room.0, "is_deleted": true, DELETION_LOGGED: null};
        let deleted = self.messages.clone_with_type::<Deleted>();
        let found = deleted
            .find(filter)
            .hint(Hint::Name(INDEX.to_owned()))
            .sort(doc! {"deleted_at": 1, "seq": 1})
            .projection(doc! {"seq": 1, "user_id": 1, "deleted_by": 1})
            .limit(PAGE as i64)
            .await?;
        Ok(found.try_collect().await?)
    }

    /// Appends entries in one transaction, which fails if another replica writes to the room.
    async fn log(&self, room: RoomId, deleted: &[Deleted], known: &HashSet<ObjectId>) -> mongodb::error::Result<()> {
        let mut session = mongo::begin(&self.database, Some(ReadConcern::snapshot())).await?;
        if let Err(e) = self.log_within(&mut session, room, deleted, known).await {
            let _ = session.abort_transaction().await;
            return Err(e);
        }
        mongo::commit(&mut session).await
    }

    async fn log_within(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        deleted: &[Deleted],
        known: &HashSet<ObjectId>,
    ) -> mongodb::error::Result<()> {
        let ids: Vec<ObjectId> = deleted.iter().map(|message| message.id).collect();
        let mark = doc! {"$set": {DELETION_LOGGED: true}};
        let unlogged = doc! {"_id": {"$in": &ids}, DELETION_LOGGED: null};
        let marked = self.messages.update_many(unlogged, mark).session(&mut *session).await?;
        if marked.modified_count != deleted.len() as u64 {
            return Err(mongodb::error::Error::custom("followed by another replica"));
        }
        self.uploads.update_many(sent_in(&ids), discard()).session(&mut *session).await?;
        let new: Vec<&Deleted> = deleted.iter().filter(|message| !known.contains(&message.id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let first = self.advance_head(session, room, &new).await?;
        let entries = (first..).zip(&new).map(|(position, message)| {
            let by = message.deleted_by.unwrap_or(message.user_id);
            Entry::without_event(LogPosition { room, position }, EntryKind::Deleted, message.id, by)
        });
        self.entries.insert_many(entries).session(session).await?;
        Ok(())
    }

    /// The messages that a replica of an earlier release deleted, which sets no mark.
    async fn logged_without_mark(&self, room: RoomId, deleted: &[Deleted]) -> Result<HashSet<ObjectId>> {
        let ids: Vec<ObjectId> = deleted.iter().map(|message| message.id).collect();
        let oldest = deleted.iter().map(|message| message.seq).min().unwrap_or(0);
        let (from, to) = (doc! {"room": room.0, "at": oldest}, doc! {"room": room.0, "at": i64::MAX});
        let filter = doc! {"_id": {"$gt": from, "$lte": to}, "kind": "deleted", "message_id": {"$in": ids}};
        let found = self.entries.find(filter).await?;
        Ok(found.map_ok(|entry| entry.message_id).try_collect().await?)
    }

    /// Advances the head past deletions. Returns the position of the first one.
    async fn advance_head(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        deleted: &[&Deleted],
    ) -> mongodb::error::Result<i64> {
        let taken = deleted.len() as i64;
        let change = doc! {"$inc": {"position": taken, "deleted": taken}};
        let updated = self.heads.find_one_and_update(doc! {"_id": room.0}, change);
        let head = updated.return_document(ReturnDocument::After).session(&mut *session).await?;
        let head = head.ok_or_else(|| mongodb::error::Error::custom("a numbered message without a head"))?;
        if head.last.as_ref().is_some_and(|last| deleted.iter().any(|message| message.id == last.id)) {
            let mut left = kept_messages(room);
            left.insert("seq", doc! {"$gt": 0});
            let messages = self.messages.clone_with_type::<Message>();
            let newest = messages.find_one(left).sort(doc! {"seq": -1}).session(&mut *session).await?;
            let last = newest.as_ref().map(LastMessage::from);
            let last = bson::serialize_to_bson(&last).map_err(mongodb::error::Error::custom)?;
            self.heads.update_one(doc! {"_id": room.0}, doc! {"$set": {"last": last}}).session(session).await?;
        }
        Ok(head.position - taken + 1)
    }
}
