//! One event of the stream, as its readers get it: made once, shared by all of them.

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::events::chat::{MessageSent, MessagesRead};
use common::id::{RoomId, UserId};
use serde::Serialize;

use crate::api::messages::MessageBody;
use crate::domain::{Kind, Message};
use crate::store::{Entry, Place};

/// A position of a room and what is told of it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub position: i64,
    pub event: Event,
    /// When a message was sent; none of what happened to it later.
    pub sent_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct NewMessage<'a> {
    id: &'a str,
    user_id: UserId,
    username: &'a str,
    room_id: RoomId,
    content: &'a str,
    message_type: &'a str,
    created_at: DateTime<Utc>,
    is_deleted: bool,
    seq: i64,
    client_message_id: Option<&'a str>,
    reply_to: Option<&'a str>,
}

#[derive(Serialize)]
struct MessageDeleted<'a> {
    message_id: &'a str,
    room_id: RoomId,
    deleted_by: UserId,
    timestamp: DateTime<Utc>,
}

impl Frame {
    /// Something that happened, with the message in its latest state.
    pub fn of(place: Place, kind: Kind, by: UserId, message: &Message) -> Self {
        let id = message.id.to_hex();
        // What was deleted meanwhile is told without its text.
        let content = if message.is_deleted { "" } else { &message.content };
        let event = match kind {
            Kind::Sent => json(
                "new_message",
                &NewMessage {
                    id: &id,
                    user_id: message.user_id,
                    username: message.username.as_deref().unwrap_or("Unknown"),
                    room_id: message.room_id,
                    content,
                    message_type: message.message_type.as_str(),
                    created_at: message.created_at,
                    is_deleted: message.is_deleted,
                    seq: place.at,
                    client_message_id: message.client_message_id.as_deref(),
                    reply_to: message.reply_to.as_deref(),
                },
            ),
            Kind::Edited => json("message_edited", &MessageBody::of(message)),
            Kind::Deleted => {
                let timestamp = message.deleted_at.unwrap_or(message.updated_at);
                let (message_id, room_id, deleted_by) = (&*id, message.room_id, by);
                json("message_deleted", &MessageDeleted { message_id, room_id, deleted_by, timestamp })
            }
        };
        let sent_at = (kind == Kind::Sent).then_some(message.created_at);
        Self { position: place.at, event: event.id(place.at.to_string()), sent_at }
    }

    /// An entry of the log, with the message in its latest state.
    pub fn of_entry(entry: &Entry, message: &Message) -> Self {
        Self::of(entry.place, entry.kind, entry.by, message)
    }

    /// A message that another replica sent: its event says everything that is told.
    pub fn of_event(sent: &MessageSent, at: DateTime<Utc>) -> Self {
        let event = json(
            "new_message",
            &NewMessage {
                id: &sent.message_id,
                user_id: sent.user_id,
                username: &sent.username,
                room_id: sent.room_id,
                content: &sent.content,
                message_type: &sent.message_type,
                created_at: at,
                is_deleted: false,
                seq: sent.seq,
                client_message_id: sent.client_message_id.as_deref(),
                reply_to: sent.reply_to.as_deref(),
            },
        );
        Self { position: sent.position, event: event.id(sent.position.to_string()), sent_at: Some(at) }
    }
}

#[derive(Serialize)]
struct ReadByOthers<'a> {
    #[serde(flatten)]
    read: &'a MessagesRead,
    timestamp: DateTime<Utc>,
}

/// A read is not history: it has no position and no id.
pub fn messages_read(read: &MessagesRead, timestamp: DateTime<Utc>) -> Event {
    json("messages_read", &ReadByOthers { read, timestamp })
}

fn json<T: Serialize>(name: &'static str, data: &T) -> Event {
    // Only a map with keys that are no strings cannot be written; there is none in these.
    Event::default().event(name).json_data(data).unwrap_or_else(|_| Event::default().event("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_no_history_and_has_no_id() {
        let read = MessagesRead { room_id: RoomId(1), user_id: UserId(2), message_ids: Vec::new(), up_to: Some(3) };
        let told = format!("{:?}", messages_read(&read, Utc::now()));
        assert!(told.contains("event: messages_read") && !told.contains("\\nid: "), "{told}");
    }
}
