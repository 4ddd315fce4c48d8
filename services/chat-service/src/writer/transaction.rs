//! One batch as one transaction: a constant number of round trips, whatever the number of orders and rooms.

use std::collections::HashMap;
use std::time::Duration;

use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc, serialize_to_bson};
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Collection, Database};

use super::{Act, Order, Written};
use crate::domain::{Change, Kind, Message, Reacted};
use crate::events;
use crate::store::{Entry, HEADS, Head, LOG, Last, MESSAGES, Pending, Place, time};

type Mongo<T> = mongodb::error::Result<T>;

/// A try that takes longer is given up; the engine drops its transaction by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a commit of unknown outcome is committed again, as the driver asks for, before the ledger is asked.
const COMMIT_TRIES: usize = 3;

/// Where batches go.
pub struct Transactions {
    database: Database,
    messages: Collection<Message>,
    entries: Collection<Entry>,
    heads: Collection<Head>,
}

/// One order, committed.
pub struct Committed {
    pub written: Written,
    pub kind: Kind,
    pub reacted: Option<Reacted>,
    pub by: UserId,
    pub place: Place,
    pub event: Pending,
}

/// What an order that no rule refuses came to.
pub enum Outcome {
    Committed(Box<Committed>),
    /// There was nothing to change, and no position is taken.
    Unchanged(Box<Message>),
}

/// An order of a batch once it is decided what it does: the message in its new state.
struct Decided<'a> {
    order: &'a Order,
    kind: Kind,
    message: Message,
    changes: bool,
}

impl Transactions {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            messages: database.collection(MESSAGES),
            entries: database.collection(LOG),
            heads: database.collection(HEADS),
        }
    }

    /// Writes a batch: all of it, or on an error nothing, or nobody knows. A rule's refusal is an outcome.
    pub(super) async fn attempt(&self, batch: &[Order]) -> Mongo<Vec<Result<Outcome>>> {
        let attempt = tokio::time::timeout(PATIENCE, self.transaction(batch)).await;
        attempt.unwrap_or_else(|_| Err(mongodb::error::Error::custom("the transaction took too long")))
    }

    async fn transaction(&self, batch: &[Order]) -> Mongo<Vec<Result<Outcome>>> {
        let mut session = self.database.client().start_session().await?;
        let safe = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(safe).await?;
        match self.write(&mut session, batch).await {
            Ok(outcomes) => commit(&mut session).await.map(|()| outcomes),
            Err(e) => {
                // Often it is aborted already.
                let _ = session.abort_transaction().await;
                Err(e)
            }
        }
    }

    async fn write(&self, session: &mut ClientSession, batch: &[Order]) -> Mongo<Vec<Result<Outcome>>> {
        let mut changed = self.targets(session, batch).await?;
        let decided: Vec<Result<Decided>> = batch.iter().map(|order| decide(order, &mut changed)).collect();
        let accepted: Vec<&Decided> =
            decided.iter().filter_map(|decided| decided.as_ref().ok()).filter(|decided| decided.changes).collect();
        let mut positions = self.take_positions(session, &accepted).await?;
        let placed: Vec<Result<(Outcome, Option<Entry>)>> =
            decided.into_iter().map(|decided| decided.and_then(|decided| place(decided, &mut positions))).collect();
        self.put(session, &placed).await?;
        Ok(placed.into_iter().map(|placed| placed.map(|(outcome, _)| outcome)).collect())
    }

    /// The messages that are to be changed, as they are now.
    async fn targets(&self, session: &mut ClientSession, batch: &[Order]) -> Mongo<HashMap<ObjectId, Message>> {
        let ids: Vec<ObjectId> = batch.iter().filter_map(|order| order.target()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut found = self.messages.find(doc! {"_id": {"$in": ids}}).session(&mut *session).await?;
        found.stream(session).map_ok(|message| (message.id, message)).try_collect().await
    }

    /// Moves the heads of the rooms touched, and returns for each the position before the batch's first.
    async fn take_positions(
        &self,
        session: &mut ClientSession,
        accepted: &[&Decided<'_>],
    ) -> Mongo<HashMap<RoomId, i64>> {
        let rooms = count(accepted);
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let updates: Vec<Document> = rooms.iter().map(|(room, counts)| counts.update(*room)).collect();
        let moved = doc! {"update": HEADS, "updates": updates};
        run(&self.database, session, moved).await?;

        let ids: Vec<i64> = rooms.keys().map(|room| room.0).collect();
        let mut heads = self.heads.find(doc! {"_id": {"$in": ids}}).session(&mut *session).await?;
        let heads: Vec<Head> = heads.stream(session).try_collect().await?;
        self.refresh_last(session, accepted, &heads).await?;
        Ok(heads.iter().map(|head| (head.room, head.position - rooms.get(&head.room).map_or(0, |c| c.taken))).collect())
    }

    /// When the message that a room list shows was changed, the list shows it changed, or the one before it.
    async fn refresh_last(&self, session: &mut ClientSession, accepted: &[&Decided<'_>], heads: &[Head]) -> Mongo<()> {
        let mut latest: HashMap<ObjectId, &Message> = HashMap::new();
        for decided in accepted.iter().filter(|decided| matches!(decided.kind, Kind::Edited | Kind::Deleted)) {
            latest.insert(decided.message.id, &decided.message);
        }
        let mut updates = Vec::new();
        for head in heads {
            let Some(changed) = head.last.as_ref().and_then(|last| latest.get(&last.id)) else { continue };
            let last = if changed.is_deleted {
                self.newest(session, head.room, &latest).await?.as_ref().map(last)
            } else {
                Some(last(changed))
            };
            updates.push(doc! {"q": {"_id": head.room.0}, "u": {"$set": {"last": bson(&last)?}}});
        }
        if updates.is_empty() {
            return Ok(());
        }
        run(&self.database, session, doc! {"update": HEADS, "updates": updates}).await
    }

    /// The newest message of a room that is not deleted, nor will be by this batch.
    async fn newest(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        changed: &HashMap<ObjectId, &Message>,
    ) -> Mongo<Option<Message>> {
        let gone: Vec<ObjectId> = changed.values().filter(|m| m.is_deleted).map(|m| m.id).collect();
        let there = doc! {"room_id": room.0, "is_deleted": {"$ne": true}, "_id": {"$nin": gone}};
        self.messages.find_one(there).sort(doc! {"seq": -1}).session(session).await
    }

    /// Writes messages, their changes, and the log.
    async fn put(&self, session: &mut ClientSession, placed: &[Result<(Outcome, Option<Entry>)>]) -> Mongo<()> {
        let done = || placed.iter().filter_map(|placed| placed.as_ref().ok());
        let entries: Vec<&Entry> = done().filter_map(|(_, entry)| entry.as_ref()).collect();
        let committed = done().filter_map(|(outcome, _)| outcome.committed());
        let (sent, changed): (Vec<_>, Vec<_>) = committed.partition(|committed| committed.kind == Kind::Sent);
        if !sent.is_empty() {
            let new = sent.iter().map(|committed| &committed.written.message);
            self.messages.insert_many(new).session(&mut *session).await?;
        }
        if !changed.is_empty() {
            // In the order of the batch: of several changes of one message the last stands.
            let updates: Vec<Document> =
                changed.iter().map(|committed| change(&committed.written.message)).collect::<Mongo<_>>()?;
            run(&self.database, session, doc! {"update": MESSAGES, "updates": updates}).await?;
        }
        if !entries.is_empty() {
            self.entries.insert_many(entries).session(session).await?;
        }
        Ok(())
    }
}

impl Outcome {
    fn committed(&self) -> Option<&Committed> {
        match self {
            Self::Committed(committed) => Some(committed),
            Self::Unchanged(_) => None,
        }
    }
}

impl Order {
    fn target(&self) -> Option<ObjectId> {
        match &self.act {
            Act::Send(_) => None,
            Act::Change { message, .. } => Some(*message),
        }
    }

    fn change(&self) -> Option<&Change> {
        match &self.act {
            Act::Send(_) => None,
            Act::Change { change, .. } => Some(change),
        }
    }

    fn reacted(&self) -> Option<&Reacted> {
        match self.change() {
            Some(Change::React(reacted)) => Some(reacted),
            _ => None,
        }
    }
}

/// Applies the rules. What an order changes is seen by the orders after it.
fn decide<'a>(order: &'a Order, changed: &mut HashMap<ObjectId, Message>) -> Result<Decided<'a>> {
    match &order.act {
        Act::Send(message) => Ok(Decided { order, kind: Kind::Sent, message: (**message).clone(), changes: true }),
        Act::Change { message, change, room } => {
            let message = changed.get_mut(message).filter(|m| m.room_id == *room);
            let message = message.ok_or_else(|| common::error::Error::not_found("Message not found"))?;
            let changes = message.apply(change, order.by, order.at)?;
            Ok(Decided { order, kind: change.kind(), message: message.clone(), changes })
        }
    }
}

/// What a batch does to one room.
#[derive(Default)]
struct Counts<'a> {
    taken: i64,
    sent: i64,
    deleted: i64,
    newest: Option<&'a Message>,
}

fn count<'a>(accepted: &[&'a Decided<'_>]) -> HashMap<RoomId, Counts<'a>> {
    let mut rooms: HashMap<RoomId, Counts> = HashMap::new();
    for decided in accepted {
        let counts = rooms.entry(decided.order.room()).or_default();
        counts.taken += 1;
        match decided.kind {
            Kind::Sent => {
                counts.sent += 1;
                counts.newest = Some(&decided.message);
            }
            Kind::Deleted => counts.deleted += 1,
            Kind::Edited | Kind::Reacted => {}
        }
    }
    rooms
}

impl Counts<'_> {
    fn update(&self, room: RoomId) -> Document {
        let mut update = doc! {"$inc": {"position": self.taken, "messages": self.sent, "deleted": self.deleted}};
        if let Some(newest) = self.newest {
            let at = time::to_bson(newest.created_at);
            update.insert("$set", doc! {"last": bson(&last(newest)).unwrap_or_default(), "updated_at": at});
        }
        doc! {"q": {"_id": room.0}, "u": update, "upsert": true}
    }
}

fn last(message: &Message) -> Last {
    Last {
        id: message.id,
        user_id: message.user_id,
        content: message.content.clone(),
        message_type: message.message_type,
        created_at: message.created_at,
    }
}

/// Gives an order its position, and makes the entry and the event.
fn place(decided: Decided, positions: &mut HashMap<RoomId, i64>) -> Result<(Outcome, Option<Entry>)> {
    let Decided { order, kind, mut message, changes } = decided;
    if !changes {
        return Ok((Outcome::Unchanged(Box::new(message)), None));
    }
    let position = positions.entry(order.room()).or_default();
    *position += 1;
    let place = Place { room: order.room(), at: *position };
    if kind == Kind::Sent {
        message.seq = Some(place.at);
    }
    let (change, reacted) = (order.change(), order.reacted());
    let event = events::of_message(&message, change, order.by, place, order.event_id, order.at, &order.trace)?;
    let entry = Entry {
        place,
        kind,
        message_id: message.id,
        by: order.by,
        event_id: order.bson_event_id(),
        reacted: reacted.cloned(),
        pending: Some(event.clone()),
    };
    let written = Written { message, position: Some(place.at) };
    let committed = Committed { written, kind, reacted: reacted.cloned(), by: order.by, place, event };
    Ok((Outcome::Committed(Box::new(committed)), Some(entry)))
}

fn change(message: &Message) -> Mongo<Document> {
    let state = doc! {
        "content": &message.content,
        "original_content": &message.original_content,
        "is_edited": message.is_edited,
        "edited_at": message.edited_at.map(time::to_bson),
        "is_deleted": message.is_deleted,
        "deleted_at": message.deleted_at.map(time::to_bson),
        "deleted_by": message.deleted_by.map(|by| by.0),
        "updated_at": time::to_bson(message.updated_at),
        "reactions": bson(&message.reactions)?,
    };
    Ok(doc! {"q": {"_id": message.id}, "u": {"$set": state}})
}

/// Many updates as one command: the driver's own `bulk_write` wants MongoDB 8.
async fn run(database: &Database, session: &mut ClientSession, command: Document) -> Mongo<()> {
    let answer = database.run_command(command).session(session).await?;
    match answer.get_array("writeErrors") {
        Ok(errors) if !errors.is_empty() => Err(mongodb::error::Error::custom(format!("{errors:?}"))),
        _ => Ok(()),
    }
}

fn bson<T: serde::Serialize>(value: &T) -> Mongo<mongodb::bson::Bson> {
    serialize_to_bson(value).map_err(mongodb::error::Error::custom)
}

async fn commit(session: &mut ClientSession) -> Mongo<()> {
    let mut tries = 1;
    loop {
        match session.commit_transaction().await {
            Err(e) if e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) && tries < COMMIT_TRIES => tries += 1,
            committed => return committed,
        }
    }
}
