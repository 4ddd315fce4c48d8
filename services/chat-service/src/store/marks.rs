//! How far each member has read each room.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, ReturnDocument, WriteConcern};
use mongodb::{ClientSession, Collection, Database};
use serde::{Deserialize, Serialize};

use super::schema::{MARKS, READ_STATUS, READS};
use super::{MESSAGES, Pending, time};
use crate::domain::{Message, MessageType, Room};

/// Unread messages are counted exactly up to this, and no further; and as many ids a read of a whole room names.
pub const UNREAD_CAP: i64 = 1_000;

/// A mark with more messages that were read one by one is moved up to the first unread one, where it can be.
const ONE_BY_ONE: usize = 64;

/// Two reads of one reader at once take turns.
const TRIES: usize = 20;

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

impl Mark {
    pub fn covers(&self, position: i64) -> bool {
        position <= self.up_to || self.read.contains(&position)
    }
}

/// A read that moves a mark, and the event that tells of it.
pub struct Read {
    pub room: RoomId,
    pub reader: UserId,
    pub messages: Vec<(ObjectId, i64)>,
    /// The position of the mark, when the whole room was read.
    pub up_to: Option<i64>,
    pub at: DateTime<Utc>,
    pub event_id: bson::Uuid,
    pub pending: Pending,
}

impl Read {
    /// The `_id` of its event.
    pub fn id(&self) -> Bson {
        doc! {"room": self.room.0, "event": self.event_id}.into()
    }
}

/// The collections `room_marks`, `room_reads` and, for the original, `message_read_status`.
#[derive(Clone)]
pub struct Marks {
    database: Database,
    marks: Collection<Document>,
    reads: Collection<Document>,
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
    user: UserId,
}

#[derive(Deserialize)]
struct Count {
    room: i64,
    unread: i64,
}

#[derive(Deserialize)]
struct Position {
    #[serde(rename = "_id")]
    id: ObjectId,
    seq: i64,
}

impl Marks {
    pub fn new(database: &Database) -> Self {
        let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        Self {
            database: database.clone(),
            marks: database.collection_with_options(MARKS, majority.clone()),
            reads: database.collection(READS),
            messages: database.collection_with_options(MESSAGES, majority),
        }
    }

    /// How many messages of others a reader has not read, for many rooms: two round trips, whatever their history.
    pub async fn unread(&self, user: UserId, rooms: &[&Room]) -> Result<HashMap<RoomId, i64>> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
        let marks = self.of(user, &ids).await?;
        let mut parts = rooms.iter().map(|room| {
            let mark = marks.get(&room.id).cloned().unwrap_or_default();
            count(room, user, &mark)
        });
        let mut pipeline = parts.next().unwrap_or_default();
        pipeline.extend(parts.map(|part| doc! {"$unionWith": {"coll": MESSAGES, "pipeline": part}}));
        let counts = self.messages.aggregate(pipeline).with_type::<Count>().await?;
        Ok(counts.map_ok(|count| (RoomId(count.room), count.unread)).try_collect().await?)
    }

    /// The newest messages that a reader has not read, at most [`UNREAD_CAP`].
    pub async fn newest_unread(&self, user: UserId, room: &Room) -> Result<Vec<(ObjectId, i64)>> {
        let mark = self.of_one(user, room.id).await?;
        let found = self
            .messages
            .clone_with_type::<Position>()
            .find(unread(room.id, sender(room, user), &mark))
            .sort(doc! {"seq": -1})
            .limit(UNREAD_CAP)
            .projection(doc! {"seq": 1})
            .await?;
        let mut newest: Vec<_> = found.map_ok(|message| (message.id, message.seq)).try_collect().await?;
        newest.reverse();
        Ok(newest)
    }

    /// Which of these messages of others a reader has not read.
    pub async fn unread_of(&self, user: UserId, room: RoomId, messages: &[Message]) -> Result<Vec<(ObjectId, i64)>> {
        let mark = self.of_one(user, room).await?;
        let countable = |message: &&Message| {
            message.user_id != user && message.message_type != MessageType::System && !message.is_deleted
        };
        let others = messages.iter().filter(countable);
        let placed = others.filter_map(|message| Some((message.id, message.seq?)));
        Ok(placed.filter(|(_, position)| !mark.covers(*position)).collect())
    }

    /// The marks of all who have read something in a room.
    pub async fn in_room(&self, room: RoomId) -> Result<HashMap<UserId, Mark>> {
        // `_id` is a document: a range over it is a range of readers within the room.
        let (from, to) = (doc! {"room": room.0, "user": 0_i64}, doc! {"room": room.0, "user": i64::MAX});
        let found = self.marks.clone_with_type::<Stored>().find(doc! {"_id": {"$gt": from, "$lte": to}}).await?;
        Ok(found.map_ok(|stored| (stored.id.user, stored.mark)).try_collect().await?)
    }

    /// Moves a mark, with the event and the original's rows, all or nothing.
    pub async fn move_to(&self, read: &Read) -> Result<()> {
        let mut tries = 1;
        loop {
            let mut session = self.database.client().start_session().await?;
            match self.transaction(&mut session, read).await {
                Ok(mark) => {
                    // The read is committed; the next one compacts as well.
                    if let Err(error) = self.compact(read.room, read.reader, &mark).await {
                        tracing::debug!(%error, room = %read.room, "a mark stays long");
                    }
                    return Ok(());
                }
                Err(e) if tries < TRIES && retryable(&e) => tries += 1,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// What the original's reader has read, one by one, is read.
    pub async fn take_over(&self, room: RoomId, reader: UserId, read: &[i64]) -> Result<()> {
        let change = doc! {"$addToSet": {"read": {"$each": read}}};
        let marks = self.marks.clone_with_type::<Mark>();
        let moved = marks.find_one_and_update(doc! {"_id": key(room, reader)}, change).upsert(true);
        let mark = moved.return_document(ReturnDocument::After).await?.unwrap_or_default();
        self.compact(room, reader, &mark).await
    }

    /// Moves a mark past what was read one by one before the first unread message: a list of all that someone ever read
    /// would make every count slower.
    async fn compact(&self, room: RoomId, reader: UserId, mark: &Mark) -> Result<()> {
        let Some(last) = mark.read.iter().max().filter(|_| mark.read.len() > ONE_BY_ONE) else { return Ok(()) };
        let unread = unread(room, others(reader), mark);
        let positions = self.messages.clone_with_type::<Position>();
        let first = positions.find_one(unread).sort(doc! {"seq": 1}).projection(doc! {"seq": 1}).await?;
        let up_to = first.map_or(*last, |first| first.seq - 1);
        if up_to > mark.up_to {
            self.marks.update_one(doc! {"_id": key(room, reader)}, moved_up(up_to)).await?;
        }
        Ok(())
    }

    /// The mark as it stands after it.
    async fn transaction(&self, session: &mut ClientSession, read: &Read) -> mongodb::error::Result<Mark> {
        let safe = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        session.start_transaction().write_concern(safe).await?;
        let mark = doc! {"_id": key(read.room, read.reader)};
        let marks = self.marks.clone_with_type::<Mark>();
        let moved = marks.find_one_and_update(mark, moved(read)).upsert(true).return_document(ReturnDocument::After);
        let mark = moved.session(&mut *session).await?.unwrap_or_default();
        let rows: Vec<Document> = read.messages.iter().map(|(message, _)| row(read, *message)).collect();
        if !rows.is_empty() {
            self.database.run_command(doc! {"update": READ_STATUS, "updates": rows}).session(&mut *session).await?;
        }
        // Tried again after a commit of unknown outcome, it finds itself.
        let event = doc! {"_id": read.id()};
        self.reads.update_one(event, doc! {"$setOnInsert": unsent(read)}).upsert(true).session(&mut *session).await?;
        session.commit_transaction().await?;
        Ok(mark)
    }

    async fn of_one(&self, user: UserId, room: RoomId) -> Result<Mark> {
        Ok(self.of(user, &[room]).await?.remove(&room).unwrap_or_default())
    }

    async fn of(&self, user: UserId, rooms: &[RoomId]) -> Result<HashMap<RoomId, Mark>> {
        let ids: Vec<_> = rooms.iter().map(|room| key(*room, user)).collect();
        let found = self.marks.clone_with_type::<Stored>().find(doc! {"_id": {"$in": ids}}).await?;
        Ok(found.map_ok(|stored| (stored.id.room, stored.mark)).try_collect().await?)
    }
}

fn retryable(e: &mongodb::error::Error) -> bool {
    e.contains_label(TRANSIENT_TRANSACTION_ERROR) || e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}

fn key(room: RoomId, user: UserId) -> Document {
    doc! {"room": room.0, "user": user.0}
}

fn moved(read: &Read) -> Document {
    match read.up_to {
        Some(position) => moved_up(position),
        None => {
            let positions: Vec<i64> = read.messages.iter().map(|(_, position)| *position).collect();
            doc! {"$addToSet": {"read": {"$each": positions}}}
        }
    }
}

fn moved_up(position: i64) -> Document {
    doc! {"$max": {"up_to": position}, "$pull": {"read": {"$lte": position}}}
}

/// A row as the original writes it.
fn row(read: &Read, message: ObjectId) -> Document {
    let place = doc! {"message_id": message.to_hex(), "user_id": read.reader.0};
    let new = doc! {"room_id": read.room.0, "read_at": time::to_bson(read.at)};
    doc! {"q": place, "u": {"$setOnInsert": new}, "upsert": true}
}

fn unsent(read: &Read) -> Document {
    let Pending { payload, request_id, traceparent } = &read.pending;
    let pending = doc! {"payload": payload, "request_id": request_id, "traceparent": traceparent};
    doc! {"event_id": read.event_id, "at": time::to_bson(read.at), "pending": pending}
}

/// Messages of these senders that a reader with this mark has not read.
fn unread(room: RoomId, sender: Document, mark: &Mark) -> Document {
    doc! {
        "room_id": room.0,
        "user_id": sender,
        "seq": {"$gt": mark.up_to, "$nin": &mark.read},
        "is_deleted": {"$ne": true},
        "message_type": {"$ne": "system"},
    }
}

/// Everybody but the reader. Named where there is but one, so that the index `room_sender_seq` passes over the reader's own
/// messages, however many they are.
fn sender(room: &Room, reader: UserId) -> Document {
    match room.kind.pair() {
        Some(pair) => doc! {"$eq": pair.other(reader).0},
        None => others(reader),
    }
}

fn others(reader: UserId) -> Document {
    doc! {"$ne": reader.0}
}

/// Counts at most [`UNREAD_CAP`] messages, wherever in the history the mark stands.
fn count(room: &Room, user: UserId, mark: &Mark) -> Vec<Document> {
    vec![
        doc! {"$match": unread(room.id, sender(room, user), mark)},
        doc! {"$limit": UNREAD_CAP},
        doc! {"$count": "unread"},
        doc! {"$set": {"room": room.id.0, "unread": {"$toLong": "$unread"}}},
    ]
}
