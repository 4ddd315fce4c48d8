//! The rooms' logs and their heads.
//!
//! All reads use read concern majority: an entry that is visible before it is journaled on a majority may vanish when its
//! server is killed.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::serde_helpers::datetime::FromChrono04DateTime;
use bson::{Bson, Timestamp, doc};
use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::Reads;
use futures_util::TryStreamExt;
use mongodb::{ClientSession, ClusterTime, Database};
use serde::{Deserialize, Serialize};
use serde_with::serde_as;

use super::batch_reads::BatchReads;
use super::head_changes::HeadChanges;
use super::outbox_collection::OutboxEvent;
use super::schema::{HEADS, LOG};
use crate::domain::{EntryKind, Message, MessageType, ReactionChange, Room};

/// A position in the log of a room: the `_id` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    pub room: RoomId,
    /// 1, 2, 3 … in commit order, without gaps.
    #[serde(rename = "at")]
    pub position: i64,
}

impl LogPosition {
    /// The stored form.
    pub fn to_bson(self) -> Bson {
        doc! {"room": self.room.0, "at": self.position}.into()
    }
}

/// An entry of a room's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "_id")]
    pub id: LogPosition,
    pub kind: EntryKind,
    pub message_id: ObjectId,
    /// The user who made the change.
    pub by: UserId,
    pub event_id: bson::Uuid,
    #[serde(default, rename = "reacted", skip_serializing_if = "Option::is_none")]
    pub reaction: Option<ReactionChange>,
    /// The event, until Kafka has acknowledged it.
    #[serde(default, rename = "pending", skip_serializing_if = "Option::is_none")]
    pub event: Option<OutboxEvent>,
}

impl Entry {
    /// An entry whose event the original has published.
    pub(super) fn without_event(id: LogPosition, kind: EntryKind, message: ObjectId, by: UserId) -> Self {
        Self { id, kind, message_id: message, by, event_id: bson::Uuid::new(), reaction: None, event: None }
    }
}

/// The summary of a room, which needs no look at its messages.
#[serde_as]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "_id")]
    pub room: RoomId,
    /// The position of the newest entry.
    pub position: i64,
    /// The number of messages, deleted ones included.
    #[serde(default)]
    pub messages: i64,
    #[serde(default)]
    pub deleted: i64,
    /// The newest message that is not deleted.
    pub last: Option<LastMessage>,
    #[serde_as(as = "Option<FromChrono04DateTime>")]
    #[serde(default)]
    pub updated_at: Option<DateTime<Utc>>,
}

/// The state from which the messages of a room follow. Each change of them is another state: a position is taken, or the retention removes
/// messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadState {
    position: i64,
    messages: i64,
    deleted: i64,
}

impl Head {
    /// The time of the last message of a room, or of the creation of a room without messages.
    pub fn last_activity(room: &Room, head: Option<&Self>) -> DateTime<Utc> {
        // MySQL's time is written for all rooms of a second together, so it orders only rooms without messages.
        head.and_then(|head| head.updated_at).unwrap_or(room.updated_at)
    }

    /// The state of the room's messages.
    pub fn state(&self) -> HeadState {
        HeadState { position: self.position, messages: self.messages, deleted: self.deleted }
    }

    /// The number of messages that are not deleted.
    pub fn total(&self) -> i64 {
        self.messages - self.deleted
    }
}

/// Limit on the rooms of several requests whose heads are read together: ten rooms of each of fifty people.
const MAX_ROOMS_TOGETHER: usize = 500;

/// Limit on the content in a head, in code points: the longest message of the original. Lists of rooms load the heads of all
/// rooms of a user.
const MAX_PREVIEW_CHARS: usize = 300;

/// The message that a list of rooms shows. Its content is cut to [`MAX_PREVIEW_CHARS`].
#[serde_as]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastMessage {
    pub id: ObjectId,
    pub user_id: UserId,
    pub content: String,
    pub message_type: MessageType,
    #[serde_as(as = "FromChrono04DateTime")]
    pub created_at: DateTime<Utc>,
}

impl From<&Message> for LastMessage {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id,
            user_id: message.user_id,
            content: message.content.chars().take(MAX_PREVIEW_CHARS).collect(),
            message_type: message.message_type,
            created_at: message.created_at,
        }
    }
}

/// The heads of rooms, as of one time.
pub struct Heads {
    /// Rooms without entries are missing.
    pub of: HashMap<RoomId, Head>,
    read_at: StoreTime,
    heads: Reads<Head>,
}

/// A time of the store, at which a session can begin.
#[derive(Clone)]
struct StoreTime {
    operation: Option<Timestamp>,
    cluster: Option<ClusterTime>,
}

/// The heads of a batch.
struct HeadsRead {
    of: HashMap<RoomId, Head>,
    read_at: StoreTime,
}

impl Heads {
    /// A session after the read of the heads. A read in the session is not older than the heads, also if another server became the
    /// primary in between: for a moment, a new primary may return less than its predecessor did.
    pub async fn session(&self) -> Result<ClientSession> {
        let mut session = self.heads.session().await?;
        if let Some(time) = self.read_at.operation {
            session.advance_operation_time(time);
        }
        if let Some(time) = &self.read_at.cluster {
            session.advance_cluster_time(time);
        }
        Ok(session)
    }
}

/// The collections `room_log` and `room_heads`.
#[derive(Clone)]
pub struct Log {
    database: Database,
    entries: Reads<Entry>,
    heads: Reads<Head>,
    head_reads: BatchReads<RoomId, HeadsRead>,
}

impl Log {
    pub fn new(database: &Database) -> Self {
        let heads: Reads<Head> = Reads::new(database, HEADS);
        let read = heads.clone();
        Self {
            database: database.clone(),
            entries: Reads::new(database, LOG),
            head_reads: BatchReads::new("mongodb", MAX_ROOMS_TOGETHER, move |rooms| read_heads(read.clone(), rooms)),
            heads,
        }
    }

    /// The heads of many rooms, in one round trip, which a busy replica shares among requests; without rooms, in none.
    pub async fn heads(&self, rooms: &[RoomId]) -> Result<Heads> {
        let heads = self.heads.clone();
        if rooms.is_empty() {
            return Ok(Heads { of: HashMap::new(), read_at: StoreTime { operation: None, cluster: None }, heads });
        }
        let read = self.head_reads.read(rooms.to_vec()).await?;
        let of = rooms.iter().filter_map(|room| Some((*room, read.of.get(room)?.clone()))).collect();
        Ok(Heads { of, read_at: read.read_at.clone(), heads })
    }

    /// The newest positions of those rooms that have entries, in one round trip.
    pub async fn positions(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        self.positions_in(rooms, &mut self.session().await?).await
    }

    /// The newest positions of those rooms that have entries, within a session; without rooms, in no round trip.
    pub async fn positions_in(&self, rooms: &[RoomId], session: &mut ClientSession) -> Result<HashMap<RoomId, i64>> {
        #[derive(Deserialize)]
        struct HeadPosition {
            #[serde(rename = "_id")]
            room: RoomId,
            position: i64,
        }
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let heads = self.heads.with_type::<HeadPosition>();
        let heads = heads.find(doc! {"_id": {"$in": ids}}).projection(doc! {"position": 1});
        let mut heads = heads.batch_size(one_batch(rooms)).session(&mut *session).await?;
        Ok(heads.stream(session).map_ok(|head| (head.room, head.position)).try_collect().await?)
    }

    /// The positions up to which the histories of rooms were removed, in one round trip; rooms with their whole history are
    /// missing.
    pub async fn removed(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        #[derive(Deserialize)]
        struct RemovedUpTo {
            #[serde(rename = "_id")]
            room: RoomId,
            removed: i64,
        }
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let heads = self.heads.with_type::<RemovedUpTo>();
        let heads =
            heads.find(doc! {"_id": {"$in": ids}, "removed": {"$gt": 0}}).projection(doc! {"removed": 1}).await?;
        Ok(heads.map_ok(|head| (head.room, head.removed)).try_collect().await?)
    }

    /// A session, whose reads are causally consistent.
    pub async fn session(&self) -> Result<ClientSession> {
        self.heads.session().await
    }

    /// A session, whose reads see everything that any server has acknowledged before.
    pub async fn confirmed_session(&self) -> Result<ClientSession> {
        self.heads.confirmed_session().await
    }

    /// The changes of all heads from now on.
    pub async fn head_changes(&self) -> Result<HeadChanges> {
        HeadChanges::start(self.database.collection(HEADS)).await
    }

    /// The entries of a room after a position, in order, at most `limit`, without their events.
    pub async fn after(
        &self,
        room: RoomId,
        position: i64,
        limit: i64,
        session: &mut ClientSession,
    ) -> Result<Vec<Entry>> {
        // `_id` is a document: a range over it is a range of positions within the room.
        let (from, to) = (doc! {"room": room.0, "at": position}, doc! {"room": room.0, "at": i64::MAX});
        let mut entries = self
            .entries
            .find(doc! {"_id": {"$gt": from, "$lte": to}})
            .sort(doc! {"_id": 1})
            .limit(limit)
            .projection(doc! {"pending": 0})
            .session(&mut *session)
            .await?;
        Ok(entries.stream(session).try_collect().await?)
    }

    /// The entries of these events that still hold their event.
    pub async fn pending(&self, events: &[bson::Uuid]) -> Result<Vec<Entry>> {
        let filter = doc! {"event_id": {"$in": events}, "pending": {"$exists": true}};
        Ok(self.entries.find(filter).await?.try_collect().await?)
    }
}

/// Reads heads in one round trip.
async fn read_heads(heads: Reads<Head>, rooms: Vec<RoomId>) -> Result<HeadsRead> {
    let mut session = heads.session().await?;
    let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let found = heads.find(doc! {"_id": {"$in": ids}}).batch_size(one_batch(&rooms));
    let mut found = found.session(&mut session).await?;
    let of = found.stream(&mut session).map_ok(|head| (head.room, head)).try_collect().await?;
    let read_at = StoreTime { operation: session.operation_time(), cluster: session.cluster_time().cloned() };
    Ok(HeadsRead { of, read_at })
}

/// The batch size that returns one document for each key at once. The server's first batch has 101 documents otherwise.
pub(super) fn one_batch<K>(keys: &[K]) -> u32 {
    // A full first batch leaves a cursor open.
    u32::try_from(keys.len() + 1).unwrap_or(u32::MAX)
}
