//! Backfill of positions for messages of the original.
//!
//! The original stores messages without positions. Before a room is read or written, its messages get positions in the order
//! of (`created_at`, `_id`), deleted messages included. The result is the same however many replicas take part.
//!
//! A page is one transaction, which advances the room's head. If another replica numbers the same messages first, the
//! transaction fails and the room is read again. After a kill, the next replica continues with the remaining messages and with
//! the reads that the room's head still owes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Document, doc};
use common::error::Error;
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::{self, describe};
use futures_util::{Stream, TryStreamExt};
use moka::future::Cache;
use mongodb::options::{ReadConcern, ReturnDocument};
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;

use super::legacy::{MAX_TRIES, PAGE, integer};
use super::legacy_deletions::{DELETION_LOGGED, LegacyDeletions};
use super::legacy_marks::Unmarked;
use super::legacy_reads::LegacyReads;
use super::log::{Entry, LastMessage, LogPosition};
use super::schema::{HEADS, LOG, MESSAGES, READS_OWED};
use crate::domain::{EntryKind, Message};
use crate::flights::Flights;

/// Capacity of the cache of complete rooms; an entry takes about 50 bytes.
const CACHE_CAPACITY: u64 = 1_000_000;

/// How long a room counts as complete. [`LegacyBackfill::look`] finds new documents of the original sooner; this is for messages
/// whose ids are older than the takeover, and for reads that a stopped replica still owes.
const COMPLETE_TTL: Duration = Duration::from_secs(30);

/// The index of the messages that the original wrote after the takeover.
const INDEX: &str = "unnumbered";

/// Numbers the messages that have no position. Requests for one room share one flight.
#[derive(Clone)]
pub struct LegacyBackfill {
    database: Database,
    messages: Collection<Document>,
    heads: Collection<Document>,
    entries: Collection<Entry>,
    reads: LegacyReads,
    deletions: LegacyDeletions,
    /// Set as soon as the indexes exist.
    indexes: Arc<OnceLock<Indexes>>,
    complete: Cache<RoomId, ()>,
    flights: Flights<RoomId, ()>,
}

/// The indexes of the documents that the original wrote after the takeover.
struct Indexes {
    messages: Unmarked,
    deletions: Unmarked,
    reads: Unmarked,
}

/// The fields of a message that its numbering needs.
#[derive(Deserialize)]
struct Unnumbered {
    #[serde(rename = "_id")]
    id: ObjectId,
    user_id: UserId,
    #[serde(default)]
    is_deleted: bool,
}

impl LegacyBackfill {
    pub fn new(database: &Database) -> Self {
        let majority = mongo::majority_reads();
        let collection = |name| database.collection_with_options(name, majority.clone());
        Self {
            database: database.clone(),
            messages: collection(MESSAGES),
            heads: collection(HEADS),
            entries: database.collection_with_options(LOG, majority),
            reads: LegacyReads::new(database),
            deletions: LegacyDeletions::new(database),
            indexes: Arc::default(),
            complete: Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(COMPLETE_TTL).build(),
            flights: Flights::default(),
        }
    }

    /// Ensures that all messages of the rooms have positions, and that the read markers contain the original's reads. Usually takes
    /// one round trip, and none for rooms that were complete a short time ago.
    ///
    /// # Errors
    /// Returns 503 if other replicas number the messages of a room for too long.
    pub async fn ensure(&self, rooms: &[RoomId]) -> Result<()> {
        let (mut in_flight, mut unknown) = (Vec::new(), Vec::new());
        for room in rooms {
            if self.complete.get(room).await.is_some() {
                continue;
            }
            if self.flights.is_running(*room) {
                in_flight.push(*room);
            } else {
                unknown.push(*room);
            }
        }
        let incomplete = self.incomplete(&unknown).await?;
        for room in incomplete.iter().chain(&in_flight) {
            let backfill = self.clone();
            self.flights.run(*room, backfill.backfill(*room)).await?;
        }
        for room in unknown.iter().filter(|room| !incomplete.contains(room)) {
            self.complete.insert(*room, ()).await;
        }
        Ok(())
    }

    /// The rooms with messages that lack a position, or with reads that are not imported, in one round trip if there are none.
    pub async fn incomplete(&self, rooms: &[RoomId]) -> Result<BTreeSet<RoomId>> {
        if rooms.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let (unnumbered, owing) = tokio::try_join!(self.with_unnumbered(&ids), self.with_owed_reads(&ids))?;
        Ok(&unnumbered | &owing)
    }

    /// The rooms with messages that lack a position.
    async fn with_unnumbered(&self, rooms: &[i64]) -> Result<BTreeSet<RoomId>> {
        let filter = doc! {"room_id": {"$in": rooms}, "seq": null};
        // Nearly always there are none, and a group costs the server three times as much as this.
        if self.messages.find_one(filter.clone()).projection(doc! {"_id": 1}).await?.is_none() {
            return Ok(BTreeSet::new());
        }
        let pipeline = [doc! {"$match": filter}, doc! {"$group": {"_id": "$room_id"}}];
        let found: Vec<Document> = self.messages.aggregate(pipeline).await?.try_collect().await?;
        Ok(rooms_of(&found))
    }

    /// The rooms with reads that are not imported.
    async fn with_owed_reads(&self, rooms: &[i64]) -> Result<BTreeSet<RoomId>> {
        let filter = doc! {"_id": {"$in": rooms}, READS_OWED: {"$exists": true}};
        let found = self.heads.find(filter).projection(doc! {"_id": 1}).await?;
        Ok(rooms_of(&found.try_collect::<Vec<Document>>().await?))
    }

    /// The rooms to which the original has written since they were completed. Creates the indexes of these documents first. At
    /// rest the indexes are empty, so a look costs three small round trips.
    pub async fn look(&self) -> Result<BTreeSet<RoomId>> {
        let indexes = match self.indexes.get() {
            Some(indexes) => indexes,
            None => {
                let messages = Unmarked::since_takeover(&self.messages, INDEX, "seq").await?;
                let (deletions, reads) = (self.deletions.prepare().await?, self.reads.prepare().await?);
                self.indexes.get_or_init(|| Indexes { messages, deletions, reads })
            }
        };
        let (mut rooms, deletions, reads) = tokio::try_join!(
            indexes.messages.rooms(&self.messages),
            indexes.deletions.rooms(&self.messages),
            self.reads.rooms(&indexes.reads),
        )?;
        rooms.extend(deletions);
        rooms.extend(reads);
        Ok(rooms)
    }

    /// Looks at a room again when it is used next.
    pub async fn expire(&self, room: RoomId) {
        self.complete.invalidate(&room).await;
    }

    /// Completes a room to which the original has written.
    pub async fn follow(&self, room: RoomId) -> Result<()> {
        let backfill = self.clone();
        Ok(self.flights.run_anew(room, backfill.backfill(room)).await?)
    }

    async fn backfill(self, room: RoomId) -> Result<()> {
        self.number_all(room).await?;
        if let Some(indexes) = self.indexes.get() {
            self.deletions.follow(room).await?;
            self.reads.follow(room, &indexes.reads).await?;
        }
        self.reads.import(room).await?;
        self.complete.insert(room, ()).await;
        Ok(())
    }

    async fn number_all(&self, room: RoomId) -> Result<()> {
        for _ in 0..MAX_TRIES {
            let mut numbered = 0;
            let mut pages = std::pin::pin!(self.unnumbered(room).await?);
            while let Some(page) = pages.try_next().await? {
                numbered += page.len();
                if let Err(e) = self.number(room, &page).await {
                    tracing::debug!(error = describe(&e), %room, "another replica numbers the same messages");
                    break;
                }
            }
            if numbered == 0 {
                return Ok(());
            }
            tracing::info!(%room, messages = numbered, "numbered messages of the original");
        }
        Err(Error::unavailable("mongodb", "other replicas are numbering the messages of the room").into())
    }

    /// The messages without a position, in pages.
    async fn unnumbered(&self, room: RoomId) -> Result<impl Stream<Item = Result<Vec<Unnumbered>>> + use<>> {
        let found = self
            .messages
            .clone_with_type::<Unnumbered>()
            .find(doc! {"room_id": room.0, "seq": null})
            .sort(doc! {"created_at": 1, "_id": 1})
            .projection(doc! {"user_id": 1, "is_deleted": 1})
            .batch_size(PAGE as u32)
            .allow_disk_use(true)
            .await?;
        Ok(found.try_chunks(PAGE).map_err(|e| e.1.into()))
    }

    /// Numbers a page in one transaction, which fails if another replica writes to the room.
    async fn number(&self, room: RoomId, page: &[Unnumbered]) -> mongodb::error::Result<()> {
        let mut session = mongo::begin(&self.database, Some(ReadConcern::snapshot())).await?;
        if let Err(e) = self.number_within(&mut session, room, page).await {
            let _ = session.abort_transaction().await;
            return Err(e);
        }
        mongo::commit(&mut session).await
    }

    async fn number_within(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        page: &[Unnumbered],
    ) -> mongodb::error::Result<()> {
        // If another replica has numbered messages of the page, fewer of them lack a position.
        let ids: Vec<ObjectId> = page.iter().map(|message| message.id).collect();
        let left = doc! {"_id": {"$in": &ids}, "seq": null};
        if self.messages.count_documents(left).session(&mut *session).await? != page.len() as u64 {
            return Err(mongodb::error::Error::custom("numbered by another replica"));
        }
        let first = self.advance_head(session, room, page).await?;
        let numbered = || (first..).zip(page);
        let updates: Vec<Document> = numbered().map(|(at, message)| numbering(at, message)).collect();
        self.database.run_command(doc! {"update": MESSAGES, "updates": updates}).session(&mut *session).await?;
        // The log contains only the send of a message. Its frame shows a later deletion.
        let entries = numbered().map(|(position, message)| {
            Entry::without_event(LogPosition { room, position }, EntryKind::Sent, message.id, message.user_id)
        });
        self.entries.insert_many(entries).session(session).await?;
        Ok(())
    }

    /// Advances the head past a page. Returns the position of the page's first message.
    async fn advance_head(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        page: &[Unnumbered],
    ) -> mongodb::error::Result<i64> {
        let (taken, deleted) = (page.len() as i64, page.iter().filter(|message| message.is_deleted).count() as i64);
        let (mut set, mut active) = (doc! {READS_OWED: bson::Uuid::new()}, None);
        if let Some(newest) = page.iter().rfind(|message| !message.is_deleted) {
            let messages = self.messages.clone_with_type::<Message>();
            let newest = messages.find_one(doc! {"_id": newest.id}).session(&mut *session).await?;
            let newest = newest.ok_or_else(|| mongodb::error::Error::custom("a message has vanished"))?;
            let last = bson::serialize_to_bson(&LastMessage::from(&newest)).map_err(mongodb::error::Error::custom)?;
            set.insert("last", last);
            active = Some(newest.created_at);
        }
        let mut change = doc! {"$inc": {"position": taken, "messages": taken, "deleted": deleted}, "$set": set};
        if let Some(active) = active {
            // A message that was on its way at the switch does not move the room back in lists.
            change.insert("$max", doc! {"updated_at": bson::DateTime::from_chrono(active)});
        }
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
}

/// The rooms of documents whose id is the room.
fn rooms_of(found: &[Document]) -> BTreeSet<RoomId> {
    found.iter().filter_map(|room| integer(room.get("_id")?)).map(RoomId).collect()
}

/// The update that gives a message its position. The head counts a message that is deleted already.
fn numbering(position: i64, message: &Unnumbered) -> Document {
    let mut set = doc! {"seq": position};
    if message.is_deleted {
        set.insert(DELETION_LOGGED, true);
    }
    doc! {"q": {"_id": message.id}, "u": {"$set": set}}
}
