//! A request to the writer, and its answer.

use bson::oid::ObjectId;
use bson::{Document, doc};
use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};
use platform::telemetry::Trace;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{Message, MessageChange, MessageType, ReactionChange};

#[derive(Clone, Debug)]
pub enum Command {
    /// Stores a new message, which has no `seq` yet.
    Send(Box<Message>),
    /// Changes an existing message.
    Change { room: RoomId, message: ObjectId, change: MessageChange },
}

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Written {
    /// The message in its new state.
    pub message: Message,
    /// The position of the command's log entry; `None` for a repeat, which has no entry of its own.
    pub position: Option<i64>,
}

/// A command in the queue. Its ids and time are the same in every try.
#[derive(Debug)]
pub struct WriteRequest {
    pub command: Command,
    pub by: UserId,
    pub event_id: Uuid,
    pub at: DateTime<Utc>,
    pub trace: Trace,
    pub deadline: Instant,
    /// Whether an earlier try had an unknown outcome.
    pub in_doubt: bool,
    pub answer: oneshot::Sender<Result<Written>>,
}

/// Identifies repeated sends of one message.
pub type SendKey = (RoomId, UserId, MessageKey);

/// A client cannot choose the key of a system message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageKey {
    System(ObjectId),
    OfClient(String),
}

impl WriteRequest {
    pub fn room(&self) -> RoomId {
        match &self.command {
            Command::Send(message) => message.room_id,
            Command::Change { room, .. } => *room,
        }
    }

    pub fn is_send(&self) -> bool {
        matches!(self.command, Command::Send(_))
    }

    /// Whether the request sends the message with this id.
    pub fn sends(&self, id: ObjectId) -> bool {
        matches!(&self.command, Command::Send(message) if message.id == id)
    }

    /// Matches an earlier send with the same key.
    pub fn earlier_send(&self) -> Option<Document> {
        match &self.command {
            Command::Send(message) => earlier_send(message),
            Command::Change { .. } => None,
        }
    }

    /// The upload that a send takes over into its message.
    pub fn upload(&self) -> Option<ObjectId> {
        match &self.command {
            Command::Send(message) => message.upload_id,
            Command::Change { .. } => None,
        }
    }

    /// The message that a change concerns.
    pub fn target(&self) -> Option<ObjectId> {
        match &self.command {
            Command::Send(_) => None,
            Command::Change { message, .. } => Some(*message),
        }
    }

    pub fn change(&self) -> Option<&MessageChange> {
        match &self.command {
            Command::Send(_) => None,
            Command::Change { change, .. } => Some(change),
        }
    }

    pub fn reaction(&self) -> Option<&ReactionChange> {
        match self.change() {
            Some(MessageChange::React(reaction)) => Some(reaction),
            _ => None,
        }
    }

    pub fn bson_event_id(&self) -> bson::Uuid {
        bson::Uuid::from_bytes(self.event_id.into_bytes())
    }

    /// Answers the caller. If the caller is gone, the answer is dropped and the write remains.
    pub fn respond(self, answer: Result<Written>) {
        let _ = self.answer.send(answer);
    }
}

/// The key of a message; `None` for a message without `client_message_id`. The key of a system message is its id, because
/// several replicas may write it.
pub fn send_key(message: &Message) -> Option<SendKey> {
    let key = match message.message_type {
        MessageType::System => MessageKey::System(message.id),
        _ => MessageKey::OfClient(message.client_message_id.clone()?),
    };
    Some((message.room_id, message.user_id, key))
}

/// Matches an earlier send with the key of a message; `None` for a message without one.
fn earlier_send(message: &Message) -> Option<Document> {
    match message.message_type {
        MessageType::System => Some(doc! {"_id": message.id}),
        _ => message.client_message_id.as_ref().map(|client_message_id| {
            doc! {"room_id": message.room_id.0, "user_id": message.user_id.0, "client_message_id": client_message_id}
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RosterChange;

    #[test]
    fn the_key_of_a_client_is_never_that_of_a_system_message() {
        let (id, change) = (ObjectId::new(), RosterChange { joined: true, users: Vec::new() });
        let system = Message::system(id, RoomId(1), UserId(2), None, String::new(), change, Utc::now());
        let guess = Message { message_type: MessageType::Text, client_message_id: Some(id.to_hex()), ..system.clone() };
        assert_ne!(send_key(&guess), send_key(&system));
    }
}
