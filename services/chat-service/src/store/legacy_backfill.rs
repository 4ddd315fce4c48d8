//! Backfill of positions for messages of the original.
//!
//! The original stores messages without positions. Before a room is read or written, its messages get positions in the order
//! of (`created_at`, `_id`), deleted messages included. The result is the same however many replicas take part.
//!
//! A chunk is one transaction, which advances the room's head. If another replica numbers the same messages first, the
//! transaction fails and the room is read again. After a kill, the next replica continues with the remaining messages and with
//! the reads that the room's head still owes.

use std::collections::{BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::serde_helpers::datetime::FromChrono04DateTime;
use bson::{Document, doc};
use chrono::{DateTime, Utc};
use common::error::Error;
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::{self, describe};
use futures_util::TryStreamExt;
use moka::future::Cache;
use mongodb::options::{ReadConcern, ReturnDocument};
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;
use serde_with::serde_as;

use super::read_markers::ReadMarkers;
use super::schema::{HEADS, LOG, MESSAGES, READ_STATUS};

/// Messages numbered in one transaction, which takes well under a second: less than any transaction lifetime.
const CHUNK: usize = 1_000;

/// Capacity of the cache of complete rooms; an entry takes about 50 bytes.
const CACHE_CAPACITY: u64 = 1_000_000;

/// Limit on conflicts with other replicas before the request is answered 503.
const MAX_TRIES: usize = 200;

/// The field of a head that owes the import of the original's reads. The transaction that numbers messages sets it to a new
/// value, so that a kill before the import loses no read.
const READS_OWED: &str = "reads_owed";

/// Numbers the messages that have no position.
#[derive(Clone)]
pub struct LegacyBackfill {
    database: Database,
    messages: Collection<Document>,
    heads: Collection<Document>,
    entries: Collection<Document>,
    read: Collection<Document>,
    markers: ReadMarkers,
    complete: Cache<RoomId, ()>,
}

/// The fields of a message that its numbering needs.
#[serde_as]
#[derive(Clone, Deserialize)]
struct Unnumbered {
    #[serde(rename = "_id")]
    id: ObjectId,
    user_id: UserId,
    #[serde_as(as = "FromChrono04DateTime")]
    created_at: DateTime<Utc>,
    #[serde(default)]
    is_deleted: bool,
    content: String,
    message_type: String,
}

impl LegacyBackfill {
    pub fn new(database: &Database) -> Self {
        let majority = mongo::majority_reads();
        let collection = |name| database.collection_with_options(name, majority.clone());
        Self {
            database: database.clone(),
            messages: collection(MESSAGES),
            heads: collection(HEADS),
            entries: collection(LOG),
            read: collection(READ_STATUS),
            markers: ReadMarkers::new(database),
            complete: Cache::builder().max_capacity(CACHE_CAPACITY).build(),
        }
    }

    /// Ensures that all messages of the rooms have positions, and that the read markers contain the original's reads. Takes
    /// one round trip, and none for rooms known to be complete.
    ///
    /// # Errors
    /// Returns 503 if other replicas number the messages of a room for too long.
    pub async fn ensure(&self, rooms: &[RoomId]) -> Result<()> {
        let mut unknown = Vec::new();
        for room in rooms {
            if self.complete.get(room).await.is_none() {
                unknown.push(*room);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        for room in self.incomplete(&unknown).await? {
            self.backfill(room).await?;
        }
        for room in unknown {
            self.complete.insert(room, ()).await;
        }
        Ok(())
    }

    /// The rooms with messages that lack a position, or with reads that are not imported.
    async fn incomplete(&self, rooms: &[RoomId]) -> Result<BTreeSet<RoomId>> {
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let owing = doc! {"_id": {"$in": &ids}, READS_OWED: {"$exists": true}};
        let owing = vec![doc! {"$match": owing}, doc! {"$project": {"_id": 1}}];
        let pipeline = [
            doc! {"$match": {"room_id": {"$in": ids}, "seq": null}},
            doc! {"$group": {"_id": "$room_id"}},
            doc! {"$unionWith": {"coll": HEADS, "pipeline": owing}},
        ];
        let found: Vec<Document> = self.messages.aggregate(pipeline).await?.try_collect().await?;
        Ok(found.iter().filter_map(|room| integer(room.get("_id")?)).map(RoomId).collect())
    }

    async fn backfill(&self, room: RoomId) -> Result<()> {
        for _ in 0..MAX_TRIES {
            let left = self.unnumbered(room).await?;
            if left.is_empty() {
                return self.import_reads(room).await;
            }
            tracing::info!(%room, messages = left.len(), "numbering messages of the original");
            for chunk in left.chunks(CHUNK) {
                if let Err(e) = self.number(room, chunk).await {
                    tracing::debug!(error = describe(&e), %room, "another replica numbers the same messages");
                    break;
                }
            }
        }
        Err(Error::unavailable("mongodb", "other replicas are numbering the messages of the room").into())
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

    /// Numbers a chunk in one transaction, which fails if another replica writes to the room.
    async fn number(&self, room: RoomId, chunk: &[Unnumbered]) -> mongodb::error::Result<()> {
        let mut session = mongo::begin(&self.database, Some(ReadConcern::snapshot())).await?;
        if let Err(e) = self.number_within(&mut session, room, chunk).await {
            let _ = session.abort_transaction().await;
            return Err(e);
        }
        mongo::commit(&mut session).await
    }

    async fn number_within(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        chunk: &[Unnumbered],
    ) -> mongodb::error::Result<()> {
        // If another replica has numbered messages of the chunk, fewer of them lack a position.
        let ids: Vec<ObjectId> = chunk.iter().map(|message| message.id).collect();
        let left = doc! {"_id": {"$in": &ids}, "seq": null};
        if self.messages.count_documents(left).session(&mut *session).await? != chunk.len() as u64 {
            return Err(mongodb::error::Error::custom("numbered by another replica"));
        }
        let first = self.advance_head(session, room, chunk).await?;
        let numbered = || (first..).zip(chunk);
        let updates: Vec<Document> =
            numbered().map(|(at, message)| doc! {"q": {"_id": message.id}, "u": {"$set": {"seq": at}}}).collect();
        self.database.run_command(doc! {"update": MESSAGES, "updates": updates}).session(&mut *session).await?;
        let entries = numbered().map(|(at, message)| entry(room, at, message));
        self.entries.insert_many(entries).session(session).await?;
        Ok(())
    }

    /// Advances the head past a chunk. Returns the position of the chunk's first message.
    async fn advance_head(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        chunk: &[Unnumbered],
    ) -> mongodb::error::Result<i64> {
        let (taken, deleted) = (chunk.len() as i64, chunk.iter().filter(|message| message.is_deleted).count() as i64);
        let mut set = doc! {READS_OWED: bson::Uuid::new()};
        if let Some(newest) = chunk.iter().rfind(|message| !message.is_deleted) {
            set.insert("last", last(newest));
            set.insert("updated_at", bson::DateTime::from_chrono(newest.created_at));
        }
        let change = doc! {"$inc": {"position": taken, "messages": taken, "deleted": deleted}, "$set": set};
        let head = self
            .heads
            .find_one_and_update(doc! {"_id": room.0}, change)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .session(session)
            .await?;
        let position = head.as_ref().and_then(|head| head.get("position")).and_then(integer);
        Ok(position.ok_or_else(|| mongodb::error::Error::custom("a head without a position"))? - taken + 1)
    }

    /// Marks messages as read that readers of the original have read, if the room's head owes it.
    async fn import_reads(&self, room: RoomId) -> Result<()> {
        let owed = doc! {"_id": room.0, READS_OWED: {"$exists": true}};
        let Some(head) = self.heads.find_one(owed).projection(doc! {READS_OWED: 1}).await? else { return Ok(()) };
        self.import_all_reads(room).await?;
        // If messages were numbered meanwhile, their transaction has stored another value, and the reads stay owed.
        self.heads.update_one(head, doc! {"$unset": {READS_OWED: ""}}).await?;
        Ok(())
    }

    async fn import_all_reads(&self, room: RoomId) -> Result<()> {
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
            self.markers.import(room, UserId(reader), &read).await?;
        }
        Ok(())
    }
}

/// The log contains only the send of a message. Its frame shows a later deletion.
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
        "created_at": bson::DateTime::from_chrono(message.created_at),
    }
}

fn read_message(row: &Document) -> Option<ObjectId> {
    ObjectId::parse_str(row.get_str("message_id").ok()?).ok()
}

/// The original stores numbers of 32 bits, this service of 64.
fn integer(value: &bson::Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}
