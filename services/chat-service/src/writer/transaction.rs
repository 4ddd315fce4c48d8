//! A batch as one transaction, in a constant number of round trips for any number of requests and rooms.

use std::collections::HashMap;
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc, serialize_to_bson};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use engines::mongo;
use futures_util::TryStreamExt;
use mongodb::options::{ReadConcern, ReturnDocument};
use mongodb::{ClientSession, Collection, Database};

use super::request::{Command, SendKey, WriteRequest, send_key};
use crate::domain::{EntryKind, FileState, Message, UnlistedReactions, Upload, already_sent};
use crate::outbox;
use crate::store::{
    DELETION_LOGGED, Entry, HEADS, Head, LOG, LastMessage, LogPosition, MESSAGES, REACTIONS, UPLOADS, discard,
    kept_messages, sent_in, take_over,
};

type Mongo<T> = mongodb::error::Result<T>;

pub struct Transactions {
    database: Database,
    messages: Collection<Message>,
    entries: Collection<Entry>,
    heads: Collection<Head>,
    reactions: Collection<Document>,
    uploads: Collection<Upload>,
}

/// The part of the store on which the rules of a batch depend. It follows the changes of the batch.
#[derive(Default)]
struct Current {
    /// The messages that the batch changes.
    messages: HashMap<ObjectId, Message>,
    /// The messages that are stored with a key of the batch's sends.
    sent: HashMap<SendKey, Message>,
    unlisted: UnlistedReactions,
    /// The pending uploads of the batch's sends.
    uploads: HashMap<ObjectId, Upload>,
}

/// The outcome of a request that no rule refuses.
pub enum Outcome {
    /// The request's log entry, with its event, and the message in its new state.
    Committed(Box<(Entry, Message)>),
    /// The message was in the requested state; no position is used.
    Unchanged(Box<Message>),
}

/// A request to which the rules were applied: the message in its new state.
struct Decided<'a> {
    request: &'a WriteRequest,
    kind: EntryKind,
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
            reactions: database.collection(REACTIONS),
            uploads: database.collection(UPLOADS),
        }
    }

    /// Writes a batch within a time limit. The refusal of a rule is an outcome of its request.
    ///
    /// # Errors
    /// On an error nothing is stored, or, for a commit of unknown outcome, possibly the whole batch.
    pub async fn attempt(&self, batch: &[WriteRequest], limit: Duration) -> Mongo<Vec<Result<Outcome>>> {
        let attempt = tokio::time::timeout(limit, self.transaction(batch)).await;
        attempt.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    async fn transaction(&self, batch: &[WriteRequest]) -> Mongo<Vec<Result<Outcome>>> {
        let mut session = mongo::begin(&self.database, Some(ReadConcern::snapshot())).await?;
        match self.write(&mut session, batch).await {
            Ok(outcomes) => mongo::commit(&mut session).await.map(|()| outcomes),
            Err(e) => {
                // The server has often aborted it already.
                let _ = session.abort_transaction().await;
                Err(e)
            }
        }
    }

    async fn write(&self, session: &mut ClientSession, batch: &[WriteRequest]) -> Mongo<Vec<Result<Outcome>>> {
        let mut current = self.current(session, batch).await?;
        let (unlisted, uploads) = (current.unlisted.clone(), current.uploads.clone());
        let decided: Vec<Result<Decided>> = batch.iter().map(|request| decide(request, &mut current)).collect();
        let accepted: Vec<&Decided> =
            decided.iter().filter_map(|decided| decided.as_ref().ok()).filter(|decided| decided.changes).collect();
        let mut positions = self.take_positions(session, &accepted).await?;
        let outcomes: Vec<Result<Outcome>> =
            decided.into_iter().map(|decided| decided.and_then(|decided| number(decided, &mut positions))).collect();
        self.store(session, &outcomes).await?;
        self.store_uploads(session, &outcomes, &uploads).await?;
        self.store_unlisted(session, &unlisted, &current.unlisted).await?;
        Ok(outcomes)
    }

    /// Reads the messages that the batch changes, and those that its sends repeat.
    async fn current(&self, session: &mut ClientSession, batch: &[WriteRequest]) -> Mongo<Current> {
        let targets: Vec<ObjectId> = batch.iter().filter_map(WriteRequest::target).collect();
        let mut filters: Vec<Document> = batch.iter().filter_map(WriteRequest::earlier_send).collect();
        if !targets.is_empty() {
            filters.push(doc! {"_id": {"$in": targets}});
        }
        if filters.is_empty() {
            return Ok(Current { uploads: self.pending_uploads(session, batch).await?, ..Current::default() });
        }
        let mut found = self.messages.find(doc! {"$or": filters}).session(&mut *session).await?;
        let messages: HashMap<ObjectId, Message> =
            found.stream(session).map_ok(|message| (message.id, message)).try_collect().await?;
        let sent = messages.values().filter_map(|message| Some((send_key(message)?, message.clone()))).collect();
        let unlisted = self.unlisted(session, batch, &messages).await?;
        Ok(Current { messages, sent, unlisted, uploads: self.pending_uploads(session, batch).await? })
    }

    /// The uploads of the batch's sends that are not part of a message.
    async fn pending_uploads(
        &self,
        session: &mut ClientSession,
        batch: &[WriteRequest],
    ) -> Mongo<HashMap<ObjectId, Upload>> {
        let ids: Vec<ObjectId> = batch.iter().filter_map(WriteRequest::upload).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let pending = doc! {"_id": {"$in": ids}, "state": "pending"};
        let mut found = self.uploads.find(pending).session(&mut *session).await?;
        found.stream(session).map_ok(|upload| (upload.id, upload)).try_collect().await
    }

    /// Takes the uploads over into the messages that are sent, and discards those of the messages that are deleted. If another
    /// transaction has changed one of them since this one began, the server refuses the update and this transaction.
    async fn store_uploads(
        &self,
        session: &mut ClientSession,
        outcomes: &[Result<Outcome>],
        pending: &HashMap<ObjectId, Upload>,
    ) -> Mongo<()> {
        let changes = outcomes.iter().flatten().filter_map(Outcome::committed).filter_map(|(entry, message)| {
            let upload = message.upload_id?;
            match entry.kind {
                EntryKind::Sent => pending.get(&upload).map(|upload| take_over(upload, message)),
                EntryKind::Deleted => Some(doc! {"q": sent_in(&[message.id]), "u": discard()}),
                EntryKind::Edited | EntryKind::Reacted => None,
            }
        });
        let changes: Vec<Document> = changes.collect();
        if changes.is_empty() {
            return Ok(());
        }
        mongo::update_each(&self.database, Some(session), UPLOADS, changes).await
    }

    /// The reactions of the batch that exist and are not listed in their messages.
    async fn unlisted(
        &self,
        session: &mut ClientSession,
        batch: &[WriteRequest],
        messages: &HashMap<ObjectId, Message>,
    ) -> Mongo<UnlistedReactions> {
        let may_be_unlisted = |request: &WriteRequest| {
            let (message, change) = (messages.get(&request.target()?)?, request.reaction()?);
            let reaction = message.reactions.iter().find(|reaction| reaction.emoji == change.emoji)?;
            (reaction.count > reaction.user_ids.len() as u64).then(|| (message.id, change.emoji.clone(), request.by))
        };
        let candidates: UnlistedReactions = batch.iter().filter_map(may_be_unlisted).collect();
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let ids: Vec<Document> = candidates.iter().map(unlisted_id).collect();
        let mut found = self.reactions.find(doc! {"_id": {"$in": ids}}).session(&mut *session).await?;
        let found: Vec<Document> = found.stream(session).try_collect().await?;
        let exists =
            |id: Document| found.iter().any(|reaction| reaction.get_document("_id").is_ok_and(|found| *found == id));
        Ok(candidates.into_iter().filter(|reaction| exists(unlisted_id(reaction))).collect())
    }

    /// Stores which reactions are not listed after the batch.
    async fn store_unlisted(
        &self,
        session: &mut ClientSession,
        before: &UnlistedReactions,
        after: &UnlistedReactions,
    ) -> Mongo<()> {
        let added: Vec<Document> = after.difference(before).map(|new| doc! {"_id": unlisted_id(new)}).collect();
        if !added.is_empty() {
            self.reactions.insert_many(added).session(&mut *session).await?;
        }
        let removed: Vec<Document> = before.difference(after).map(unlisted_id).collect();
        if !removed.is_empty() {
            self.reactions.delete_many(doc! {"_id": {"$in": removed}}).session(session).await?;
        }
        Ok(())
    }

    /// Advances the heads of the batch's rooms. Returns the position before the first one of the batch for each room.
    async fn take_positions(
        &self,
        session: &mut ClientSession,
        accepted: &[&Decided<'_>],
    ) -> Mongo<HashMap<RoomId, i64>> {
        let rooms = count(accepted);
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let heads = self.advance(session, &rooms).await?;
        self.refresh_last(session, accepted, &heads).await?;
        Ok(heads
            .iter()
            .map(|head| (head.room, head.position - rooms.get(&head.room).map_or(0, |c| c.positions)))
            .collect())
    }

    /// Advances heads and reads them: one in one round trip, because a quiet replica writes into one room at a time, and many in two.
    async fn advance(&self, session: &mut ClientSession, rooms: &HashMap<RoomId, Counts<'_>>) -> Mongo<Vec<Head>> {
        if let (Some((room, counts)), 1) = (rooms.iter().next(), rooms.len()) {
            let advanced = self.heads.find_one_and_update(doc! {"_id": room.0}, counts.changes());
            let advanced = advanced.upsert(true).return_document(ReturnDocument::After).session(session).await?;
            return Ok(advanced.into_iter().collect());
        }
        let updates: Vec<Document> = rooms.iter().map(|(room, counts)| counts.update(*room)).collect();
        mongo::update_each(&self.database, Some(session), HEADS, updates).await?;
        let ids: Vec<i64> = rooms.keys().map(|room| room.0).collect();
        let mut heads = self.heads.find(doc! {"_id": {"$in": ids}}).session(&mut *session).await?;
        heads.stream(session).try_collect().await
    }

    /// Updates the last message of a head after an edit, and replaces it after a deletion.
    async fn refresh_last(&self, session: &mut ClientSession, accepted: &[&Decided<'_>], heads: &[Head]) -> Mongo<()> {
        let mut latest: HashMap<ObjectId, &Message> = HashMap::new();
        for decided in accepted.iter().filter(|decided| matches!(decided.kind, EntryKind::Edited | EntryKind::Deleted))
        {
            latest.insert(decided.message.id, &decided.message);
        }
        let mut updates = Vec::new();
        for head in heads {
            let Some(changed) = head.last.as_ref().and_then(|last| latest.get(&last.id)) else { continue };
            let last = if changed.is_deleted {
                // The store has the message as it was before this batch.
                let stored = self.newest(session, head.room, &latest).await?;
                stored.map(|stored| LastMessage::from(latest.get(&stored.id).copied().unwrap_or(&stored)))
            } else {
                Some(LastMessage::from(*changed))
            };
            updates.push(doc! {"q": {"_id": head.room.0}, "u": {"$set": {"last": to_bson(&last)?}}});
        }
        if updates.is_empty() {
            return Ok(());
        }
        mongo::update_each(&self.database, Some(session), HEADS, updates).await
    }

    /// The newest message of a room that is neither deleted nor deleted by this batch.
    async fn newest(
        &self,
        session: &mut ClientSession,
        room: RoomId,
        changed: &HashMap<ObjectId, &Message>,
    ) -> Mongo<Option<Message>> {
        let deleted: Vec<ObjectId> = changed.values().filter(|m| m.is_deleted).map(|m| m.id).collect();
        let mut filter = kept_messages(room);
        filter.insert("_id", doc! {"$nin": deleted});
        self.messages.find_one(filter).sort(doc! {"seq": -1}).session(session).await
    }

    /// Writes the messages, their changes and the log entries.
    async fn store(&self, session: &mut ClientSession, outcomes: &[Result<Outcome>]) -> Mongo<()> {
        let committed: Vec<&(Entry, Message)> = outcomes.iter().flatten().filter_map(Outcome::committed).collect();
        let (sent, changed): (Vec<&(Entry, Message)>, Vec<_>) =
            committed.iter().copied().partition(|(entry, _)| entry.kind == EntryKind::Sent);
        if !sent.is_empty() {
            let messages = sent.iter().map(|(_, message)| message);
            self.messages.insert_many(messages).session(&mut *session).await?;
        }
        if !changed.is_empty() {
            // In the order of the batch, so that the last of several changes of one message remains.
            let updates: Vec<Document> =
                changed.iter().map(|(entry, message)| update(entry.kind, message)).collect::<Mongo<_>>()?;
            mongo::update_each(&self.database, Some(&mut *session), MESSAGES, updates).await?;
        }
        if !committed.is_empty() {
            self.entries.insert_many(committed.iter().map(|(entry, _)| entry)).session(session).await?;
        }
        Ok(())
    }
}

impl Outcome {
    fn committed(&self) -> Option<&(Entry, Message)> {
        match self {
            Self::Committed(committed) => Some(committed),
            Self::Unchanged(_) => None,
        }
    }
}

/// Applies the rules. Later requests of the batch see the change.
fn decide<'a>(request: &'a WriteRequest, current: &mut Current) -> Result<Decided<'a>> {
    let Current { messages, sent, unlisted, uploads } = current;
    match &request.command {
        Command::Send(message) => {
            let earlier = send_key(message).and_then(|key| sent.get(&key));
            let upload = match (earlier, message.upload_id) {
                // Another send of the batch may have it.
                (None, Some(upload)) => Some(uploads.remove(&upload).ok_or_else(already_sent)?),
                _ => None,
            };
            let mut message = earlier.unwrap_or(message).clone();
            // A replica with a scanner has seen the upload, and this one may have none.
            if upload.is_some_and(|upload| upload.scan) {
                message.file_state = Some(FileState::Pending);
            }
            Ok(Decided { request, kind: EntryKind::Sent, changes: earlier.is_none(), message })
        }
        Command::Change { message, change, room } => {
            let message = messages.get_mut(message).filter(|m| m.room_id == *room);
            let message = message.ok_or_else(|| Error::not_found("Message not found"))?;
            let changes = message.apply(change, request.by, request.at, unlisted)?;
            Ok(Decided { request, kind: change.kind(), message: message.clone(), changes })
        }
    }
}

/// The `_id` in `message_reactions`.
fn unlisted_id((message, emoji, user): &(ObjectId, String, UserId)) -> Document {
    doc! {"message": message, "emoji": emoji, "user": user.0}
}

/// The changes of a batch to one room.
#[derive(Default)]
struct Counts<'a> {
    positions: i64,
    sent: i64,
    deleted: i64,
    newest: Option<&'a Message>,
}

fn count<'a>(accepted: &[&'a Decided<'_>]) -> HashMap<RoomId, Counts<'a>> {
    let mut rooms: HashMap<RoomId, Counts> = HashMap::new();
    for decided in accepted {
        let counts = rooms.entry(decided.request.room()).or_default();
        counts.positions += 1;
        match decided.kind {
            EntryKind::Sent => {
                counts.sent += 1;
                counts.newest = Some(&decided.message);
            }
            EntryKind::Deleted => counts.deleted += 1,
            EntryKind::Edited | EntryKind::Reacted => {}
        }
    }
    rooms
}

impl Counts<'_> {
    /// One statement of an update command.
    fn update(&self, room: RoomId) -> Document {
        doc! {"q": {"_id": room.0}, "u": self.changes(), "upsert": true}
    }

    /// The changes of the room's head.
    fn changes(&self) -> Document {
        let mut update = doc! {"$inc": {"position": self.positions, "messages": self.sent, "deleted": self.deleted}};
        if let Some(newest) = self.newest {
            let last = to_bson(&LastMessage::from(newest)).unwrap_or_default();
            update.insert("$set", doc! {"last": last});
            // A system message that is written late has the time of its change.
            update.insert("$max", doc! {"updated_at": bson::DateTime::from_chrono(newest.created_at)});
        }
        update
    }
}

/// Assigns the next position of the room, and creates the entry with its event.
fn number(decided: Decided, positions: &mut HashMap<RoomId, i64>) -> Result<Outcome> {
    let Decided { request, kind, mut message, changes } = decided;
    if !changes {
        return Ok(Outcome::Unchanged(Box::new(message)));
    }
    let position = positions.entry(request.room()).or_default();
    *position += 1;
    let id = LogPosition { room: request.room(), position: *position };
    if kind == EntryKind::Sent {
        message.seq = Some(id.position);
    }
    let (change, by) = (request.change(), request.by);
    let event = outbox::of_message(&message, change, by, id, request.event_id, request.at, &request.trace)?;
    let entry = Entry {
        id,
        kind,
        message_id: message.id,
        by,
        event_id: request.bson_event_id(),
        reaction: request.reaction().cloned(),
        event: Some(event),
    };
    Ok(Outcome::Committed(Box::new((entry, message))))
}

/// The update of a message to its new state.
fn update(kind: EntryKind, message: &Message) -> Mongo<Document> {
    let mut state = doc! {
        "content": &message.content,
        "original_content": &message.original_content,
        "is_edited": message.is_edited,
        "edited_at": message.edited_at.map(bson::DateTime::from_chrono),
        "is_deleted": message.is_deleted,
        "deleted_at": message.deleted_at.map(bson::DateTime::from_chrono),
        "deleted_by": message.deleted_by.map(|by| by.0),
        "updated_at": bson::DateTime::from_chrono(message.updated_at),
        "reactions": to_bson(&message.reactions)?,
    };
    if message.file_state.is_some() {
        state.extend(doc! {
            "message_type": message.message_type.as_str(),
            "file_state": to_bson(&message.file_state)?,
            "file_size": message.file_size,
            "image": to_bson(&message.image)?,
        });
    }
    if kind == EntryKind::Deleted {
        state.insert(DELETION_LOGGED, true);
    }
    Ok(doc! {"q": {"_id": message.id}, "u": {"$set": state}})
}

fn to_bson<T: serde::Serialize>(value: &T) -> Mongo<Bson> {
    serialize_to_bson(value).map_err(mongodb::error::Error::custom)
}
