//! Messages of a room in MongoDB, as chat-service stores them.

use anyhow::{Context, Result, ensure};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, Uuid, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Client, ClientSession, Database};

use super::address;
use crate::api::Person;
use crate::world::CONTENT;

/// Messages of a transaction. The stack's MongoDB ends transactions after three seconds.
const BATCH: u64 = 2_000;

/// The collections of messages, logs and heads.
pub struct Messages(Database);

impl Messages {
    /// # Errors
    /// Fails if the engine of the running stack cannot be reached, or is on another machine.
    pub async fn connect() -> Result<Self> {
        let client = Client::with_uri_str(address("MONGO_URL")?).await?;
        let database = std::env::var("MONGODB_DB_NAME").context("MONGODB_DB_NAME is not set")?;
        Ok(Self(client.database(&database)))
    }

    /// # Errors
    /// Fails if no message of this sender is in the room: the engine is that of another system.
    pub async fn ensure_has(&self, room: i64, sender: &Person) -> Result<()> {
        let sent = doc! {"room_id": room, "user_id": sender.id, "username": &sender.username};
        let found = self.0.collection::<Document>("messages").find_one(sent).await?;
        ensure!(found.is_some(), "MONGO_URL is not the database of the measured system");
        Ok(())
    }

    /// Writes at most `count` messages into a direct room in one transaction, and returns their number. Messages, log and head agree
    /// at any time, also if the service writes into the room meanwhile.
    ///
    /// # Errors
    /// Fails if MongoDB refuses the transaction.
    pub async fn write(&self, room: i64, sender: &Person, count: u64) -> Result<u64> {
        let count = count.min(BATCH);
        let messages: Vec<_> = (0..count).map(|_| message(room, sender)).collect();
        let Some(newest) = messages.last() else { return Ok(0) };
        let mut session = self.0.client().start_session().await?;
        session.start_transaction().await?;
        let first = self.advance_head(&mut session, room, newest, count as i64).await?;
        let entries = (first..).zip(&messages).map(|(position, message)| entry(room, position, message));
        self.0.collection("room_log").insert_many(entries).session(&mut session).await?;
        let messages = (first..).zip(messages).map(|(position, mut message)| {
            message.insert("seq", position);
            message
        });
        self.0.collection::<Document>("messages").insert_many(messages).session(&mut session).await?;
        session.commit_transaction().await?;
        Ok(count)
    }

    /// Moves the head past new messages and returns the position of the first one.
    async fn advance_head(&self, session: &mut ClientSession, room: i64, newest: &Document, count: i64) -> Result<i64> {
        let field = |name: &str| newest.get(name).cloned().unwrap_or(Bson::Null);
        let last = doc! {
            "id": field("_id"), "user_id": field("user_id"), "content": field("content"),
            "message_type": field("message_type"), "created_at": field("created_at"),
        };
        let change = doc! {
            "$inc": {"position": count, "messages": count, "deleted": 0_i64},
            "$set": {"last": last},
            "$max": {"updated_at": field("created_at")},
        };
        let heads = self.0.collection::<Document>("room_heads");
        let head = heads.find_one_and_update(doc! {"_id": room}, change);
        let head = head.upsert(true).return_document(ReturnDocument::After).session(session).await?;
        let position = head.context("an upsert returned no head")?.get_i64("position")?;
        Ok(position - count + 1)
    }
}

/// A message without its position.
fn message(room: i64, sender: &Person) -> Document {
    let now = DateTime::now();
    doc! {
        "_id": ObjectId::new(), "user_id": sender.id, "room_id": room, "room_type": "private", "content": CONTENT,
        "message_type": "text", "file_url": null, "file_name": null, "file_size": null, "file_type": null,
        "is_deleted": false, "deleted_at": null, "deleted_by": null, "is_edited": false, "edited_at": null,
        "original_content": null, "reply_to": null, "created_at": now, "updated_at": now, "username": &sender.username,
    }
}

/// The entry of a message in the log, whose event needs no publication.
fn entry(room: i64, position: i64, message: &Document) -> Document {
    let field = |name: &str| message.get(name).cloned().unwrap_or(Bson::Null);
    doc! {
        "_id": {"room": room, "at": position}, "kind": "sent", "message_id": field("_id"), "by": field("user_id"),
        "event_id": Uuid::new(),
    }
}
