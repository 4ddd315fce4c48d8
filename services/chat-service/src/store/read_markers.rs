//! Read markers in MongoDB: what each member has read of each room.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc, serialize_to_bson};
use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use engines::error::{Error, Result};
use engines::mongo::{self, READ_LIMIT, Reads};
use futures_util::TryStreamExt;
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;
use uuid::Uuid;

use super::batch_reads::BatchReads;
use super::legacy::MARKED;
use super::log::{Log, one_batch};
use super::outbox_collection::OutboxEvent;
use super::schema::{MESSAGES, READ_MARKERS, READ_STATUS, READS};
use super::unread::{UNREAD_CAP, others, sender, unread};
use crate::domain::{DirectPair, MAX_MEMBERS, MAX_RANGES, PositionRange, ReadMarker, Room};

/// Limit on tries of an import: a simultaneous read of the reader conflicts.
const MAX_TRIES: usize = 20;

/// Bounds of the pause between two tries in milliseconds.
const RETRY_MILLIS: std::ops::Range<u64> = 2..30;

/// Limit on the rooms that one transaction reads as a whole, each with at most [`UNREAD_CAP`] messages in memory.
const MAX_ROOMS: usize = 50;

/// Limit on the rows of the original that one transaction writes. The reads beyond it are left to the next one.
const MAX_ROWS: usize = 10_000;

/// Limit on the markers of several requests that are read together. A marker has up to 128 ranges.
const MAX_MARKERS: usize = 500;

/// The newest ranges of a marker, in which those of a page are looked for first: to look at all ranges of five hundred readers takes
/// MongoDB twice as long.
const NEWEST_RANGES: i32 = 4;

/// The part of a room that a read concerns.
#[derive(Debug)]
pub enum Extent {
    /// All messages.
    Room,
    /// Messages of others, with their positions.
    Messages(Vec<(ObjectId, i64)>),
}

/// A read that its reader asks for.
#[derive(Debug)]
pub struct ReadRequest {
    pub reader: UserId,
    pub room: Arc<Room>,
    pub extent: Extent,
    pub at: DateTime<Utc>,
    pub event_id: Uuid,
}

impl ReadRequest {
    fn is_of_room(&self) -> bool {
        matches!(self.extent, Extent::Room)
    }

    fn key(&self) -> (RoomId, UserId) {
        (self.room.id, self.reader)
    }

    /// The read of the messages that may be unread. `newest` are unread messages of some readers of the room, and `position` is
    /// the room's position: messages that are sent after it stay unread.
    fn candidates(&self, newest: &[UnreadMessage], position: i64) -> Read {
        let of_others = |message: &&UnreadMessage| message.user_id != self.reader && message.seq <= position;
        let (messages, up_to) = match &self.extent {
            Extent::Room => {
                let of_others = newest.iter().filter(of_others);
                (of_others.map(|message| (message.id, message.seq)).collect(), Some(position))
            }
            Extent::Messages(messages) => (messages.clone(), None),
        };
        Read { room: self.room.id, reader: self.reader, messages, up_to, at: self.at, event_id: self.event_id }
    }
}

/// The reads of a batch that are written, with their events; `None` for a read that found nothing unread.
pub type Written = Vec<Option<(Read, OutboxEvent)>>;

/// Why a batch of reads is not written.
#[derive(Debug)]
pub enum NotAdvanced {
    /// The store took too long. Fewer reads may succeed.
    TimedOut,
    Failed(Error),
}

impl From<Error> for NotAdvanced {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl From<mongodb::error::Error> for NotAdvanced {
    fn from(e: mongodb::error::Error) -> Self {
        if mongo::is_timeout(&e) { Self::TimedOut } else { Self::Failed(e.into()) }
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

    /// Only the messages that the marker does not cover yet.
    fn unread_by(mut self, marker: &ReadMarker) -> Self {
        self.messages.retain(|(_, position)| marker.leaves_unread(*position));
        self
    }

    /// Changes the marker. Returns whether it is another one afterwards: a read of a whole room moves it past messages that were
    /// not unread, so that the next read does not look at them again.
    fn apply(&self, marker: &mut ReadMarker) -> bool {
        let before = marker.clone();
        match self.up_to {
            Some(position) => marker.read_up_to(position),
            None => marker.read(self.messages.iter().map(|(_, position)| *position)),
        }
        *marker != before
    }
}

/// The collections `room_marks`, `room_reads` and, for replicas of the original, `message_read_status`.
#[derive(Clone)]
pub struct ReadMarkers {
    database: Database,
    markers: Reads<Document>,
    marker_reads: BatchReads<(RoomId, UserId), HashMap<(RoomId, UserId), ReadMarker>>,
    reads: Collection<Document>,
    messages: Reads<Document>,
    log: Log,
}

/// A document of `room_marks`.
#[derive(Deserialize)]
struct StoredMarker {
    #[serde(rename = "_id")]
    id: MarkerId,
    #[serde(flatten)]
    state: MarkerState,
}

#[derive(Default, Deserialize)]
struct MarkerState {
    #[serde(default)]
    up_to: i64,
    /// The position of the reader's last join.
    #[serde(default)]
    joined: i64,
    #[serde(default)]
    ranges: Vec<PositionRange>,
    /// Single positions, which earlier releases and the import of the original's reads write. The next read turns them into
    /// ranges.
    #[serde(default, rename = "read")]
    single: Vec<i64>,
}

impl From<MarkerState> for ReadMarker {
    fn from(MarkerState { up_to, joined, ranges, single }: MarkerState) -> Self {
        Self::new(up_to, joined, ranges, &single)
    }
}

#[derive(Deserialize)]
struct MarkerId {
    room: RoomId,
    user: UserId,
}

/// The part of a marker that a page of messages needs.
#[derive(Deserialize)]
struct ReaderOfPage {
    #[serde(rename = "_id")]
    user: UserId,
    #[serde(flatten)]
    state: MarkerState,
}

#[derive(Deserialize)]
struct UnreadMessage {
    #[serde(rename = "_id")]
    id: ObjectId,
    room_id: RoomId,
    user_id: UserId,
    seq: i64,
}

#[derive(Deserialize)]
struct MessagePosition {
    seq: i64,
}

impl ReadMarkers {
    pub fn new(database: &Database) -> Self {
        let markers: Reads<Document> = Reads::new(database, READ_MARKERS);
        let read = markers.clone();
        Self {
            database: database.clone(),
            marker_reads: BatchReads::new("mongodb", MAX_MARKERS, move |keys| read_markers(read.clone(), keys)),
            markers,
            reads: database.collection(READS),
            messages: Reads::new(database, MESSAGES),
            log: Log::new(database),
        }
    }

    /// The markers of a reader in many rooms, in one round trip, which a busy replica shares among requests; without rooms, in none.
    pub async fn of(&self, user: UserId, rooms: &[RoomId]) -> Result<HashMap<RoomId, ReadMarker>> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let read = self.marker_reads.read(rooms.iter().map(|room| (*room, user)).collect()).await?;
        Ok(rooms.iter().filter_map(|room| Some((*room, read.get(&(*room, user))?.clone()))).collect())
    }

    /// The markers of all readers of a room, in one round trip. A busy replica shares that of direct rooms among requests.
    pub async fn of_room(&self, room: &Room) -> Result<HashMap<UserId, ReadMarker>> {
        let Some(DirectPair { low, high }) = room.kind.pair() else { return self.of_group(room.id).await };
        let readers = [low, high];
        let read = self.marker_reads.read(readers.map(|reader| (room.id, reader)).into()).await?;
        Ok(readers.iter().filter_map(|reader| Some((*reader, read.get(&(room.id, *reader))?.clone()))).collect())
    }

    /// The markers of all readers of a room, those who have left included.
    async fn of_group(&self, room: RoomId) -> Result<HashMap<UserId, ReadMarker>> {
        let found = self.markers.with_type::<StoredMarker>().find(doc! {"_id": readers_of(room)}).await?;
        Ok(found.map_ok(|stored| (stored.id.user, stored.state.into())).try_collect().await?)
    }

    /// The markers of `user` and of the readers who have read messages between two positions, as far as they concern these
    /// positions. Takes one round trip.
    pub async fn of_page(
        &self,
        user: UserId,
        room: RoomId,
        first: i64,
        last: i64,
    ) -> Result<HashMap<UserId, ReadMarker>> {
        let overlaps = doc! {"$and": [{"$lte": ["$$this.from", last]}, {"$gte": ["$$this.to", first]}]};
        let single = doc! {"$and": [{"$gte": ["$$this", first]}, {"$lte": ["$$this", last]}]};
        let filter = |of: &str, condition: &Document| doc! {"$filter": {"input": of, "as": "this", "cond": condition}};
        // Ranges are in order, so that all of a page of new messages are among the newest.
        let newest = doc! {"newest": {"$slice": ["$ranges", -NEWEST_RANGES]}};
        let suffice = doc! {"$lte": [{"$first": "$$newest.from"}, first]};
        let either = doc! {"$cond": [suffice, filter("$$newest", &overlaps), filter("$ranges", &overlaps)]};
        let ranges = doc! {"$let": {"vars": newest, "in": either}};
        let of_array = |field: &str, part: Document| doc! {"$cond": [{"$isArray": field}, part, "$$REMOVE"]};
        let concerned = [
            doc! {"_id": user.0},
            doc! {"up_to": {"$gte": first}},
            doc! {"ranges.0": {"$exists": true}},
            doc! {"read.0": {"$exists": true}},
        ];
        let pipeline = [
            doc! {"$match": {"_id": readers_of(room)}},
            doc! {"$project": {
                "_id": "$_id.user", "up_to": 1, "joined": 1,
                "ranges": of_array("$ranges", ranges), "read": of_array("$read", filter("$read", &single)),
            }},
            doc! {"$match": {"$or": &concerned[..]}},
        ];
        let readers = self.markers.aggregate(pipeline).batch_size(MAX_MEMBERS as u32 + 1).with_type::<ReaderOfPage>();
        Ok(readers.await?.map_ok(|reader| (reader.user, reader.state.into())).try_collect().await?)
    }

    /// Records where users joined a room: older messages do not count as unread for them.
    pub async fn join(&self, room: RoomId, users: &[UserId], position: i64) -> Result<()> {
        let join = |user: &UserId| {
            doc! {"q": {"_id": marker_id(room, *user)}, "u": {"$max": {"joined": position}}, "upsert": true}
        };
        let updates = users.iter().map(join).collect();
        Ok(mongo::update_each(&self.database, None, READ_MARKERS, updates).await?)
    }

    /// Advances markers, stores the events of the messages that they did not cover before, and writes the rows of the original, in
    /// one transaction: two reads and one transaction of five commands, whatever the number of readers. The result has the first
    /// requests; those that it lacks are not written, because the transaction is full.
    ///
    /// # Errors
    /// Returns an error if MongoDB is unavailable or takes longer than `limit`, or the error of `event`, which gets the index of
    /// the request.
    pub async fn advance(
        &self,
        requests: &[&ReadRequest],
        limit: Duration,
        event: impl Fn(usize, &Read) -> common::error::Result<OutboxEvent>,
    ) -> Result<Written, NotAdvanced> {
        let (requests, rooms) = admitted(requests);
        // The unread messages are read in this session: of a room that is read up to a position, none before it may be missing.
        let mut session = self.log.session().await?;
        let positions = self.log.positions_in(&rooms, &mut session).await?;
        let tries = async {
            loop {
                match self.transaction(requests, &positions, &mut session, &event).await {
                    Err(e) if is_conflict(&e) => {}
                    done => return done,
                }
                tokio::time::sleep(Duration::from_millis(rand::random_range(RETRY_MILLIS))).await;
            }
        };
        Ok(tokio::time::timeout(limit, tries).await.map_err(|_| NotAdvanced::TimedOut)??)
    }

    /// Marks positions as read that a reader of the original has read.
    pub async fn import(&self, room: RoomId, reader: UserId, read: &[i64]) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.import_once(room, reader, read).await {
                Err(e) if tries < MAX_TRIES && is_conflict(&e) => tries += 1,
                done => return Ok(done?),
            }
        }
    }

    async fn import_once(&self, room: RoomId, reader: UserId, read: &[i64]) -> mongodb::error::Result<()> {
        let mut reads = self.database.client().start_session().await?;
        let mut session = mongo::begin(&self.database, None).await?;
        let mut marker =
            self.within(&mut session, &[(room, reader)]).await?.remove(&(room, reader)).unwrap_or_default();
        marker.read(read.iter().copied());
        self.set(&mut session, vec![((room, reader), &mut marker)], &mut reads).await?;
        mongo::commit(&mut session).await
    }

    async fn transaction(
        &self,
        requests: &[&ReadRequest],
        positions: &HashMap<RoomId, i64>,
        reads: &mut ClientSession,
        event: impl Fn(usize, &Read) -> common::error::Result<OutboxEvent>,
    ) -> mongodb::error::Result<Written> {
        let mut session = mongo::begin(&self.database, None).await?;
        let keys: Vec<_> = requests.iter().map(|request| request.key()).collect();
        let mut markers = self.within(&mut session, &keys).await?;
        let unread = self.newest_unread(requests, &markers, reads).await?;
        let (mut written, mut rows, mut events, mut changed) = (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
        for (n, request) in requests.iter().enumerate() {
            if rows.len() >= MAX_ROWS {
                break;
            }
            let position = positions.get(&request.room.id).copied().unwrap_or(0);
            let newest = unread.get(&request.room.id).map_or(&[][..], Vec::as_slice);
            let marker = markers.entry(request.key()).or_default();
            let mut read = request.candidates(newest, position).unread_by(marker);
            let may_have_older = newest.first().is_some_and(|oldest| !marker.leaves_none_unread(oldest.seq - 1));
            if newest.len() as i64 >= UNREAD_CAP && read.messages.len() < newest.len() && may_have_older {
                // Some of the newest messages, which several readers share, are the reader's own, or read. Older ones may be unread.
                let own = self.newest_unread(&[request], &markers, reads).await?;
                let newest = own.get(&request.room.id).map_or(&[][..], Vec::as_slice);
                read = request.candidates(newest, position).unread_by(markers.entry(request.key()).or_default());
            }
            if read.apply(markers.entry(request.key()).or_default()) {
                changed.insert(request.key());
            }
            if read.messages.is_empty() {
                written.push(None);
                continue;
            }
            rows.extend(read.messages.iter().map(|(message, _)| row(&read, *message)));
            let event = event(n, &read).map_err(mongodb::error::Error::custom)?;
            events.push(stored(&read, &event));
            written.push(Some((read, event)));
        }
        let mut set = Vec::with_capacity(changed.len());
        for (key, marker) in &mut markers {
            if changed.contains(key) {
                set.push((*key, marker));
            }
        }
        if !set.is_empty() {
            self.set(&mut session, set, reads).await?;
        }
        if !events.is_empty() {
            mongo::update_each(&self.database, Some(&mut session), READ_STATUS, rows).await?;
            self.reads.insert_many(events).session(&mut session).await?;
        }
        // Also a transaction that changes nothing, whose commit waits until a majority has what it has read: an earlier try may have
        // advanced the markers, and the primary may lose that again.
        mongo::commit(&mut session).await?;
        Ok(written)
    }

    /// The markers of readers as a transaction sees them. The transaction fails if one of them changes before it is set.
    async fn within(
        &self,
        session: &mut ClientSession,
        keys: &[(RoomId, UserId)],
    ) -> mongodb::error::Result<HashMap<(RoomId, UserId), ReadMarker>> {
        // The collection's read concern is not allowed within a transaction.
        let markers = self.database.collection::<StoredMarker>(READ_MARKERS);
        let ids: Vec<Document> = keys.iter().map(|(room, user)| marker_id(*room, *user)).collect();
        let found = markers.find(doc! {"_id": {"$in": ids}}).batch_size(keys.len() as u32 + 1).max_time(READ_LIMIT);
        let mut found = found.session(&mut *session).await?;
        let stored = found.stream(session);
        stored.map_ok(|stored| ((stored.id.room, stored.id.user), stored.state.into())).try_collect().await
    }

    /// The newest messages that the readers of whole rooms have not read, oldest first, at most [`UNREAD_CAP`] of a room. Of a
    /// room that several users read at once, these are the newest that any of them has not read.
    async fn newest_unread(
        &self,
        requests: &[&ReadRequest],
        markers: &HashMap<(RoomId, UserId), ReadMarker>,
        reads: &mut ClientSession,
    ) -> mongodb::error::Result<HashMap<RoomId, Vec<UnreadMessage>>> {
        let mut readers: HashMap<RoomId, Vec<&ReadRequest>> = HashMap::new();
        for request in requests.iter().filter(|request| request.is_of_room()) {
            readers.entry(request.room.id).or_default().push(request);
        }
        let gaps_of = |request: &ReadRequest| {
            markers.get(&request.key()).map_or_else(|| ReadMarker::default().gaps(), ReadMarker::gaps)
        };
        let mut of_rooms = readers.into_iter().map(|(room, readers)| {
            let filter = match *readers {
                [one] => unread(room, Some(sender(&one.room, one.reader)), &gaps_of(one)),
                ref many => {
                    let first = many.iter().map(|request| gaps_of(request)[0].0).min().unwrap_or(0);
                    unread(room, None, &[(first, None)])
                }
            };
            let fields = doc! {"room_id": 1, "user_id": 1, "seq": 1};
            vec![
                doc! {"$match": filter},
                doc! {"$sort": {"seq": -1}},
                doc! {"$limit": UNREAD_CAP},
                doc! {"$project": fields},
            ]
        });
        let Some(mut pipeline) = of_rooms.next() else { return Ok(HashMap::new()) };
        pipeline.extend(of_rooms.map(|room| doc! {"$unionWith": {"coll": MESSAGES, "pipeline": room}}));
        // Not within the transaction, which allows no `$unionWith`.
        let found = self.messages.aggregate(pipeline).with_type::<UnreadMessage>();
        let mut found = found.session(&mut *reads).await?;
        let mut found = found.stream(reads);
        let mut newest: HashMap<RoomId, Vec<UnreadMessage>> = HashMap::new();
        while let Some(message) = found.try_next().await? {
            newest.entry(message.room_id).or_default().push(message);
        }
        newest.values_mut().for_each(|messages| messages.sort_unstable_by_key(|message| message.seq));
        Ok(newest)
    }

    /// Stores markers, with fewer ranges if they have too many.
    async fn set(
        &self,
        session: &mut ClientSession,
        markers: Vec<((RoomId, UserId), &mut ReadMarker)>,
        reads: &mut ClientSession,
    ) -> mongodb::error::Result<()> {
        let mut updates = Vec::with_capacity(markers.len());
        for ((room, reader), marker) in markers {
            if marker.ranges().len() > MAX_RANGES {
                self.close_gaps(room, reader, marker, reads).await?;
            }
            let state = doc! {"up_to": marker.up_to(), "ranges": serialize_to_bson(marker.ranges())?};
            updates.push(doc! {
                "q": {"_id": marker_id(room, reader)},
                "u": {"$set": state, "$unset": {"read": ""}},
                "upsert": true,
            });
        }
        mongo::update_each(&self.database, Some(session), READ_MARKERS, updates).await
    }

    /// Closes the gaps of a marker that hold no unread messages: they are messages of the reader, or other entries of the log.
    async fn close_gaps(
        &self,
        room: RoomId,
        reader: UserId,
        marker: &mut ReadMarker,
        reads: &mut ClientSession,
    ) -> mongodb::error::Result<()> {
        let mut gaps = marker.gaps();
        gaps.pop();
        let positions = self.messages.with_type::<MessagePosition>();
        let mut newest = positions
            .find(unread(room, Some(others(reader)), &gaps))
            .sort(doc! {"seq": -1})
            .limit(UNREAD_CAP)
            .projection(doc! {"seq": 1})
            .session(&mut *reads)
            .await?;
        let mut unread: Vec<i64> = newest.stream(reads).map_ok(|message| message.seq).try_collect().await?;
        unread.reverse();
        let known_after = if unread.len() < UNREAD_CAP as usize { 0 } else { unread[0] };
        marker.close_gaps(&unread, known_after);
        marker.limit_ranges();
        Ok(())
    }
}

/// The first requests, whose whole rooms are at most [`MAX_ROOMS`], and these rooms.
fn admitted<'a, 'b>(requests: &'a [&'b ReadRequest]) -> (&'a [&'b ReadRequest], Vec<RoomId>) {
    let mut rooms = BTreeSet::new();
    let fits = |request: &&&ReadRequest| {
        if request.is_of_room() && (rooms.len() < MAX_ROOMS || rooms.contains(&request.room.id)) {
            rooms.insert(request.room.id);
        }
        !request.is_of_room() || rooms.contains(&request.room.id)
    };
    let count = requests.iter().take_while(fits).count();
    (&requests[..count], rooms.into_iter().collect())
}

/// Whether another transaction has changed or created one of the documents.
fn is_conflict(e: &mongodb::error::Error) -> bool {
    e.contains_label(TRANSIENT_TRANSACTION_ERROR) || mongo::is_duplicate(e)
}

/// Reads markers in one round trip.
async fn read_markers(
    markers: Reads<Document>,
    keys: Vec<(RoomId, UserId)>,
) -> Result<HashMap<(RoomId, UserId), ReadMarker>> {
    let ids: Vec<Document> = keys.iter().map(|(room, user)| marker_id(*room, *user)).collect();
    let markers = markers.with_type::<StoredMarker>();
    let found = markers.find(doc! {"_id": {"$in": ids}}).batch_size(one_batch(&keys)).await?;
    Ok(found.map_ok(|StoredMarker { id, state }| ((id.room, id.user), state.into())).try_collect().await?)
}

/// The ids of all markers of a room. An id is a document, and a range of such ids is a range of readers.
fn readers_of(room: RoomId) -> Document {
    doc! {"$gt": marker_id(room, UserId(0)), "$lte": marker_id(room, UserId(i64::MAX))}
}

fn marker_id(room: RoomId, user: UserId) -> Document {
    doc! {"room": room.0, "user": user.0}
}

/// The upsert of a row in the original's format, with the mark of this service.
fn row(read: &Read, message: ObjectId) -> Document {
    let filter = doc! {"message_id": message.to_hex(), "user_id": read.reader.0};
    let new = doc! {"room_id": read.room.0, "read_at": bson::DateTime::from_chrono(read.at), MARKED: true};
    doc! {"q": filter, "u": {"$setOnInsert": new}, "upsert": true}
}

/// The document in `room_reads`.
fn stored(read: &Read, event: &OutboxEvent) -> Document {
    let OutboxEvent { payload, request_id, traceparent } = event;
    let pending = doc! {"payload": payload, "request_id": request_id, "traceparent": traceparent};
    let at = bson::DateTime::from_chrono(read.at);
    doc! {"_id": read.id(), "event_id": read.bson_event_id(), "at": at, "pending": pending}
}
