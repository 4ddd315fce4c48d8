//! Messages of the original have no positions. Before a room is read or written they get them: in the order of
//! (`created_at`, `_id`), deleted ones too, once, whichever replicas are at it.
//!
//! A chunk is a transaction that moves the head from where this replica believes it stands. Another replica that was
//! faster makes it fail, and the room is looked at anew. Killed in between, the rest is taken up where it stands.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use moka::future::Cache;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Document, doc};
use mongodb::options::{CollectionOptions, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;

use super::marks::Marks;
use super::schema::READ_STATUS;
use super::{HEADS, LOG, MESSAGES, time};

/// Messages numbered in one transaction: well under a second, and so under any lifetime of a transaction.
const CHUNK: usize = 1_000;

/// Rooms known to be numbered; one entry takes about 50 bytes.
const MAX_REMEMBERED: u64 = 1_000_000;

/// How often another replica may be faster before the request is told to come back.
const TRIES: usize = 200;

/// Gives positions to what has none.
#[derive(Clone)]
pub struct Adoption {
    database: Database,
    messages: Collection<Document>,
    heads: Collection<Document>,
    entries: Collection<Document>,
    read: Collection<Document>,
    marks: Marks,
    done: Cache<RoomId, ()>,
}

/// As much of a message as its numbering needs.
#[derive(Clone, Deserialize)]
struct Unnumbered {
    #[serde(rename = "_id")]
    id: ObjectId,
    user_id: UserId,
    #[serde(with = "time")]
    created_at: DateTime<Utc>,
    #[serde(default)]
    is_deleted: bool,
    content: String,
    message_type: String,
}

impl Adoption {
    pub fn new(database: &Database) -> Self {
        let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        let collection = |name| database.collection_with_options(name, majority.clone());
        Self {
            database: database.clone(),
            messages: collection(MESSAGES),
            heads: collection(HEADS),
            entries: collection(LOG),
            read: collection(READ_STATUS),
            marks: Marks::new(database),
            done: Cache::builder().max_capacity(MAX_REMEMBERED).build(),
        }
    }

    /// Sees to it that all messages of these rooms have positions: one round trip, and none once it is known.
    pub async fn ensure(&self, rooms: &[RoomId]) -> Result<()> {
        let mut unknown = Vec::new();
        for room in rooms {
            if self.done.get(room).await.is_none() {
                unknown.push(*room);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        for room in self.with_unnumbered(&unknown).await? {
            self.adopt(room).await?;
        }
        for room in unknown {
            self.done.insert(room, ()).await;
        }
        Ok(())
    }

    async fn with_unnumbered(&self, rooms: &[RoomId]) -> Result<Vec<RoomId>> {
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let found = self.messages.distinct("room_id", doc! {"room_id": {"$in": ids}, "seq": null}).await?;
        Ok(found.iter().filter_map(integer).map(RoomId).collect())
    }

    async fn adopt(&self, room: RoomId) -> Result<()> {
        for _ in 0..TRIES {
            let left = self.unnumbered(room).await?;
            if left.is_empty() {
                return self.take_over_reads(room).await;
            }
            tracing::info!(%room, messages = left.len(), "messages of the original get their positions");
            for chunk in left.chunks(CHUNK) {
                if let Err(e) = self.number(room, chunk).await {
                    tracing::debug!(error = %e, %room, "another replica is at it");
                    break;
                }
            }
        }
        Err(Error::unavailable("mongodb", "other replicas number the messages of this room"))
    }

    async fn unnumbered(&self, room: RoomId) -> Result<Vec<Unnumbered>> {
        let found = self
            .messages
            .clone_with_type::<Unnumbered>()
            .find(doc! {"room_id": room.0, "seq": null})
            .sort(doc! {"created_at": 1, "_id": 1})
            .projection(doc! {"user_id": 1, "created_at": 1, "is_deleted": 1, "content": 1, "message_type": 1})
            .allow_disk_use(true)
            .await?;
        Ok(found.try_collect().await?)
    }

    /// Numbers a chunk, if the head stands still meanwhile.
    async fn number(&self, room: RoomId, chunk: &[Unnumbered]) -> Result<(), mongodb::error::Error> {
        let mut session = self.database.client().start_session().await?;
        let safe = WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true).build();
        session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(safe).await?;
        if let Err(e) = self.number_within(&mut session, room, chunk).await {
            let _ = session.abort_transaction().await;
            return Err(e);
        }
        session.commit_transaction().await
    }

    async fn number_within(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        chunk: &[Unnumbered],
    ) -> Result<(), mongodb::error::Error> {
        // The chunk may be numbered already: then not all of it is found without a position.
        let ids: Vec<ObjectId> = chunk.iter().map(|message| message.id).collect();
        let left = doc! {"_id": {"$in": &ids}, "seq": null};
        if self.messages.count_documents(left).session(&mut *session).await? != chunk.len() as u64 {
            return Err(mongodb::error::Error::custom("numbered by another replica"));
        }
        let first = self.move_head(session, room, chunk).await?;
        let placed = || (first..).zip(chunk);
        let updates: Vec<Document> =
            placed().map(|(at, message)| doc! {"q": {"_id": message.id}, "u": {"$set": {"seq": at}}}).collect();
        self.database.run_command(doc! {"update": MESSAGES, "updates": updates}).session(&mut *session).await?;
        let entries = placed().map(|(at, message)| entry(room, at, message));
        self.entries.insert_many(entries).session(session).await?;
        Ok(())
    }

    /// Moves the head past a chunk; the position of the chunk's first message.
    async fn move_head(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        chunk: &[Unnumbered],
    ) -> Result<i64, mongodb::error::Error> {
        let (taken, deleted) = (chunk.len() as i64, chunk.iter().filter(|message| message.is_deleted).count() as i64);
        let mut change = doc! {"$inc": {"position": taken, "messages": taken, "deleted": deleted}};
        if let Some(newest) = chunk.iter().rfind(|message| !message.is_deleted) {
            change.insert("$set", doc! {"last": last(newest), "updated_at": time::to_bson(newest.created_at)});
        }
        let moved = self
            .heads
            .find_one_and_update(doc! {"_id": room.0}, change)
            .upsert(true)
            .return_document(mongodb::options::ReturnDocument::After)
            .session(session)
            .await?;
        let position = moved.as_ref().and_then(|head| head.get("position")).and_then(integer);
        Ok(position.ok_or_else(|| mongodb::error::Error::custom("a head without position"))? - taken + 1)
    }

    /// What the original's readers have read, one by one, is read.
    async fn take_over_reads(&self, room: RoomId) -> Result<()> {
        let rows: Vec<Document> = self.read.find(doc! {"room_id": room.0}).await?.try_collect().await?;
        let ids: Vec<ObjectId> = rows.iter().filter_map(read_message).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = self.messages.find(doc! {"_id": {"$in": ids}}).projection(doc! {"seq": 1}).await?;
        let numbered: Vec<Document> = found.try_collect().await?;
        let positions: HashMap<ObjectId, i64> = numbered
            .iter()
            .filter_map(|message| Some((message.get_object_id("_id").ok()?, integer(message.get("seq")?)?)))
            .collect();
        let mut by_reader: HashMap<i64, Vec<i64>> = HashMap::new();
        for row in &rows {
            let position = read_message(row).and_then(|id| positions.get(&id));
            if let (Some(position), Some(reader)) = (position, row.get("user_id").and_then(integer)) {
                by_reader.entry(reader).or_default().push(*position);
            }
        }
        for (reader, read) in by_reader {
            self.marks.take_over(room, UserId(reader), &read).await?;
        }
        Ok(())
    }
}

/// The log knows only of its birth; a deletion is told with it.
fn entry(room: RoomId, at: i64, message: &Unnumbered) -> Document {
    doc! {
        "_id": {"room": room.0, "at": at},
        "kind": "sent",
        "message_id": message.id,
        "by": message.user_id.0,
        "event_id": bson::Uuid::new(),
    }
}

fn last(message: &Unnumbered) -> Document {
    doc! {
        "id": message.id,
        "user_id": message.user_id.0,
        "content": &message.content,
        "message_type": &message.message_type,
        "created_at": time::to_bson(message.created_at),
    }
}

fn read_message(row: &Document) -> Option<ObjectId> {
    ObjectId::parse_str(row.get_str("message_id").ok()?).ok()
}

/// The original's numbers are 32 bits wide, ours 64.
fn integer(value: &bson::Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}
