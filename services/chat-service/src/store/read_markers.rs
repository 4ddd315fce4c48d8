//! Read markers: how far each member has read each room.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo;
use futures_util::TryStreamExt;
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::outbox_collection::OutboxEvent;
use super::schema::{MESSAGES, READ_MARKERS, READ_STATUS, READS};
use crate::domain::{Message, MessageType, Room};

/// Unread messages are counted up to this number. A read of a whole room names at most as many ids.
pub const UNREAD_CAP: i64 = 1_000;

/// A marker that lists more single positions is advanced to the first unread message.
const MAX_SINGLE: usize = 64;

/// Limit on tries of a transaction: two simultaneous reads of one reader conflict.
const MAX_TRIES: usize = 20;

/// The read marker of a reader in a room.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReadMarker {
    /// All messages up to this position are read.
    #[serde(default)]
    pub up_to: i64,
    /// Positions after `up_to` that were read one by one.
    #[serde(default, rename = "read")]
    pub single: Vec<i64>,
}

impl ReadMarker {
    /// Whether the message at a position is read.
    pub fn covers(&self, position: i64) -> bool {
        position <= self.up_to || self.single.contains(&position)
    }

    /// The marker after a read.
    fn after(mut self, read: &Read) -> Self {
        match read.up_to {
            Some(position) => {
                self.up_to = self.up_to.max(position);
                self.single.retain(|single| *single > position);
            }
            None => self.single.extend(read.messages.iter().map(|(_, position)| position)),
        }
        self
    }
}

/// A change of a read marker.
pub struct Read {
    pub room: RoomId,
    pub reader: UserId,
    /// The messages that the marker covers afterwards and did not cover before.
    pub messages: Vec<(ObjectId, i64)>,
    /// The new position of the marker, when the whole room was read.
    pub up_to: Option<i64>,
    pub at: DateTime<Utc>,
    pub event_id: Uuid,
}

impl Read {
    /// The `_id` of the document in `room_reads`.
    pub fn id(&self) -> Bson {
        doc! {"room": self.room.0, "event": self.bson_event_id()}.into()
    }

    fn bson_event_id(&self) -> bson::Uuid {
        bson::Uuid::from_bytes(self.event_id.into_bytes())
    }
}

/// The collections `room_marks`, `room_reads` and, for replicas of the original, `message_read_status`.
#[derive(Clone)]
pub struct ReadMarkers {
    database: Database,
    markers: Collection<Document>,
    reads: Collection<Document>,
    messages: Collection<Document>,
}

#[derive(Deserialize)]
struct StoredMarker {
    #[serde(rename = "_id")]
    id: MarkerId,
    #[serde(flatten)]
    marker: ReadMarker,
}

#[derive(Deserialize)]
struct MarkerId {
    room: RoomId,
    user: UserId,
}

#[derive(Deserialize)]
struct UnreadCount {
    room: i64,
    unread: i64,
}

#[derive(Deserialize)]
struct MessagePosition {
    #[serde(rename = "_id")]
    id: ObjectId,
    seq: i64,
}

impl ReadMarkers {
    pub fn new(database: &Database) -> Self {
        let majority = mongo::majority_reads();
        Self {
            database: database.clone(),
            markers: database.collection_with_options(READ_MARKERS, majority.clone()),
            reads: database.collection(READS),
            messages: database.collection_with_options(MESSAGES, majority),
        }
    }

    /// The numbers of messages of others that a reader has not read in many rooms, in two round trips.
    pub async fn unread(&self, user: UserId, rooms: &[&Room]) -> Result<HashMap<RoomId, i64>> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
        let markers = self.of(user, &ids).await?;
        let mut counts = rooms.iter().map(|room| {
            let marker = markers.get(&room.id).cloned().unwrap_or_default();
            count_unread(room, user, &marker)
        });
        let mut pipeline = counts.next().unwrap_or_default();
        pipeline.extend(counts.map(|count| doc! {"$unionWith": {"coll": MESSAGES, "pipeline": count}}));
        let counts = self.messages.aggregate(pipeline).with_type::<UnreadCount>().await?;
        Ok(counts.map_ok(|count| (RoomId(count.room), count.unread)).try_collect().await?)
    }

    /// The newest unread messages of a reader, oldest first, at most [`UNREAD_CAP`].
    pub async fn newest_unread(&self, user: UserId, room: &Room) -> Result<Vec<(ObjectId, i64)>> {
        let marker = self.of_one(user, room.id).await?;
        let found = self
            .messages
            .clone_with_type::<MessagePosition>()
            .find(unread(room.id, sender(room, user), &marker))
            .sort(doc! {"seq": -1})
            .limit(UNREAD_CAP)
            .projection(doc! {"seq": 1})
            .await?;
        let mut newest: Vec<_> = found.map_ok(|message| (message.id, message.seq)).try_collect().await?;
        newest.reverse();
        Ok(newest)
    }

    /// Those of the messages that others wrote and the reader has not read.
    pub async fn unread_of(&self, user: UserId, room: RoomId, messages: &[Message]) -> Result<Vec<(ObjectId, i64)>> {
        let marker = self.of_one(user, room).await?;
        let countable = |message: &&Message| {
            message.user_id != user && message.message_type != MessageType::System && !message.is_deleted
        };
        let others = messages.iter().filter(countable);
        let numbered = others.filter_map(|message| Some((message.id, message.seq?)));
        Ok(numbered.filter(|(_, position)| !marker.covers(*position)).collect())
    }

    /// The markers of all readers of a room.
    pub async fn in_room(&self, room: RoomId) -> Result<HashMap<UserId, ReadMarker>> {
        // `_id` is a document: a range over it is a range of readers within the room.
        let (from, to) = (doc! {"room": room.0, "user": 0_i64}, doc! {"room": room.0, "user": i64::MAX});
        let markers = self.markers.clone_with_type::<StoredMarker>();
        let found = markers.find(doc! {"_id": {"$gt": from, "$lte": to}}).await?;
        Ok(found.map_ok(|stored| (stored.id.user, stored.marker)).try_collect().await?)
    }

    /// Advances a marker, stores the event of the messages that it did not cover before, and writes the rows of the
    /// original, in one transaction. Only these messages stay in `read`. Returns the event; without such messages nothing
    /// changes.
    ///
    /// # Errors
    /// Returns an error if MongoDB is unavailable, or the error of `event`.
    pub async fn advance(
        &self,
        read: &mut Read,
        event: impl Fn(&Read) -> common::error::Result<OutboxEvent>,
    ) -> Result<Option<OutboxEvent>> {
        let candidates = read.messages.clone();
        let mut tries = 1;
        loop {
            // A failover may roll back the marker that an earlier try has seen.
            read.messages.clone_from(&candidates);
            match self.transaction(read, &event).await {
                Ok(None) => return Ok(None),
                Ok(Some((marker, event))) => {
                    // The read is committed. If compaction fails, the next read repeats it.
                    if let Err(error) = self.compact(read.room, read.reader, &marker).await {
                        tracing::debug!(%error, room = %read.room, "read marker not compacted");
                    }
                    return Ok(Some(event));
                }
                Err(e) if tries < MAX_TRIES && e.contains_label(TRANSIENT_TRANSACTION_ERROR) => tries += 1,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Marks positions as read that a reader of the original has read.
    pub async fn import(&self, room: RoomId, reader: UserId, read: &[i64]) -> Result<()> {
        let change = doc! {"$addToSet": {"read": {"$each": read}}};
        let markers = self.markers.clone_with_type::<ReadMarker>();
        let updated = markers.find_one_and_update(doc! {"_id": marker_id(room, reader)}, change).upsert(true);
        let marker = updated.return_document(ReturnDocument::After).await?.unwrap_or_default();
        self.compact(room, reader, &marker).await
    }

    /// Advances a marker with many single positions to the first unread message. A longer list slows down each count.
    async fn compact(&self, room: RoomId, reader: UserId, marker: &ReadMarker) -> Result<()> {
        let Some(last) = marker.single.iter().max().filter(|_| marker.single.len() > MAX_SINGLE) else {
            return Ok(());
        };
        let unread = unread(room, others(reader), marker);
        let positions = self.messages.clone_with_type::<MessagePosition>();
        let first = positions.find_one(unread).sort(doc! {"seq": 1}).projection(doc! {"seq": 1}).await?;
        let up_to = first.map_or(*last, |first| first.seq - 1);
        if up_to > marker.up_to {
            self.markers.update_one(doc! {"_id": marker_id(room, reader)}, advanced_to(up_to)).await?;
        }
        Ok(())
    }

    /// Returns the new marker and the event.
    async fn transaction(
        &self,
        read: &mut Read,
        event: impl Fn(&Read) -> common::error::Result<OutboxEvent>,
    ) -> mongodb::error::Result<Option<(ReadMarker, OutboxEvent)>> {
        let mut session = mongo::begin(&self.database, None).await?;
        let filter = doc! {"_id": marker_id(read.room, read.reader)};
        let markers = self.markers.clone_with_type::<ReadMarker>();
        // The update locks the marker, so of simultaneous reads one finds a message unread.
        let updated = markers.find_one_and_update(filter, advanced_by(read)).upsert(true);
        let before = updated.return_document(ReturnDocument::Before).session(&mut session).await?.unwrap_or_default();
        read.messages.retain(|(_, position)| !before.covers(*position));
        if read.messages.is_empty() {
            session.abort_transaction().await?;
            return Ok(None);
        }
        let rows: Vec<Document> = read.messages.iter().map(|(message, _)| row(read, *message)).collect();
        self.database.run_command(doc! {"update": READ_STATUS, "updates": rows}).session(&mut session).await?;
        let event = event(read).map_err(mongodb::error::Error::custom)?;
        self.reads.insert_one(stored(read, &event)).session(&mut session).await?;
        mongo::commit(&mut session).await?;
        Ok(Some((before.after(read), event)))
    }

    async fn of_one(&self, user: UserId, room: RoomId) -> Result<ReadMarker> {
        Ok(self.of(user, &[room]).await?.remove(&room).unwrap_or_default())
    }

    async fn of(&self, user: UserId, rooms: &[RoomId]) -> Result<HashMap<RoomId, ReadMarker>> {
        let ids: Vec<_> = rooms.iter().map(|room| marker_id(*room, user)).collect();
        let found = self.markers.clone_with_type::<StoredMarker>().find(doc! {"_id": {"$in": ids}}).await?;
        Ok(found.map_ok(|stored| (stored.id.room, stored.marker)).try_collect().await?)
    }
}

fn marker_id(room: RoomId, user: UserId) -> Document {
    doc! {"room": room.0, "user": user.0}
}

fn advanced_by(read: &Read) -> Document {
    match read.up_to {
        Some(position) => advanced_to(position),
        None => {
            let positions: Vec<i64> = read.messages.iter().map(|(_, position)| *position).collect();
            doc! {"$addToSet": {"read": {"$each": positions}}}
        }
    }
}

fn advanced_to(position: i64) -> Document {
    doc! {"$max": {"up_to": position}, "$pull": {"read": {"$lte": position}}}
}

/// The upsert of a row in the original's format.
fn row(read: &Read, message: ObjectId) -> Document {
    let filter = doc! {"message_id": message.to_hex(), "user_id": read.reader.0};
    let new = doc! {"room_id": read.room.0, "read_at": bson::DateTime::from_chrono(read.at)};
    doc! {"q": filter, "u": {"$setOnInsert": new}, "upsert": true}
}

/// The document in `room_reads`.
fn stored(read: &Read, event: &OutboxEvent) -> Document {
    let OutboxEvent { payload, request_id, traceparent } = event;
    let pending = doc! {"payload": payload, "request_id": request_id, "traceparent": traceparent};
    let at = bson::DateTime::from_chrono(read.at);
    doc! {"_id": read.id(), "event_id": read.bson_event_id(), "at": at, "pending": pending}
}

/// Matches messages of the senders that a reader with this marker has not read.
fn unread(room: RoomId, sender: Document, marker: &ReadMarker) -> Document {
    doc! {
        "room_id": room.0,
        "user_id": sender,
        "seq": {"$gt": marker.up_to, "$nin": &marker.single},
        "is_deleted": {"$ne": true},
        "message_type": {"$ne": "system"},
    }
}

/// Matches all senders but the reader. A direct room has one other sender: naming it lets the index `room_sender_seq` skip
/// the reader's own messages.
fn sender(room: &Room, reader: UserId) -> Document {
    match room.kind.pair() {
        Some(pair) => doc! {"$eq": pair.other(reader).0},
        None => others(reader),
    }
}

fn others(reader: UserId) -> Document {
    doc! {"$ne": reader.0}
}

/// Counts at most [`UNREAD_CAP`] unread messages. The cost does not depend on the marker's position.
fn count_unread(room: &Room, user: UserId, marker: &ReadMarker) -> Vec<Document> {
    vec![
        doc! {"$match": unread(room.id, sender(room, user), marker)},
        doc! {"$limit": UNREAD_CAP},
        doc! {"$count": "unread"},
        doc! {"$set": {"room": room.id.0, "unread": {"$toLong": "$unread"}}},
    ]
}
