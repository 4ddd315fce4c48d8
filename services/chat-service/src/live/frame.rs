//! One event of the stream, as its readers get it: made once, shared by all of them.

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::clients::user::UNKNOWN_USERNAME;
use common::events::chat::{MessageSent, MessagesRead};
use common::events::friend::FriendRequestSent;
use common::events::user::UserOnlineStatusChanged;
use common::id::{RoomId, UserId};
use serde::Serialize;

use crate::api::messages::MessageBody;
use crate::domain::{Kind, Message, Move, Reacted, Reaction};
use crate::store::{Entry, Place};

/// A position of a room and what is told of it. The id is the stream's to add: each names its place in its own way.
#[derive(Clone, Debug)]
pub struct Frame {
    pub position: i64,
    pub event: Event,
    /// When a message was sent; none of what happened to it later.
    pub sent_at: Option<DateTime<Utc>>,
    /// Who came or went with it.
    pub moved: Option<Move>,
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

#[derive(Serialize)]
struct ReactionChanged<'a> {
    message_id: &'a str,
    room_id: RoomId,
    user_id: UserId,
    emoji: &'a str,
    added: bool,
    reactions: &'a [Reaction],
}

impl Frame {
    /// Something that happened, with the message in its latest state.
    pub fn of(place: Place, kind: Kind, by: UserId, reacted: Option<&Reacted>, message: &Message) -> Self {
        let id = message.id.to_hex();
        // What was deleted meanwhile is told without its text.
        let content = if message.is_deleted { "" } else { &message.content };
        let event = match kind {
            Kind::Sent => json(
                "new_message",
                &NewMessage {
                    id: &id,
                    user_id: message.user_id,
                    username: message.username.as_deref().unwrap_or(UNKNOWN_USERNAME),
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
            Kind::Reacted => {
                let (emoji, added) = reacted.map_or(("", false), |reacted| (&*reacted.emoji, reacted.added));
                let (message_id, room_id, user_id, reactions) = (&*id, message.room_id, by, &*message.reactions);
                json("reaction_changed", &ReactionChanged { message_id, room_id, user_id, emoji, added, reactions })
            }
        };
        let sent_at = (kind == Kind::Sent).then_some(message.created_at);
        let moved = message.moved.clone().filter(|_| kind == Kind::Sent);
        Self { position: place.at, event, sent_at, moved }
    }

    /// An entry of the log, with the message in its latest state.
    pub fn of_entry(entry: &Entry, message: &Message) -> Self {
        Self::of(entry.place, entry.kind, entry.by, entry.reacted.as_ref(), message)
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
        Self { position: sent.position, event, sent_at: Some(at), moved: None }
    }
}

#[derive(Serialize)]
struct RoomCreated<'a> {
    room_id: RoomId,
    room_type: &'a str,
    creator_id: UserId,
    participant_ids: &'a [UserId],
    timestamp: DateTime<Utc>,
}

/// A new room, for its members.
pub fn chat_room_created(room: RoomId, direct: bool, creator: UserId, members: &[UserId], at: DateTime<Utc>) -> Event {
    let room_type = if direct { "direct" } else { "group" };
    json(
        "chat_room_created",
        &RoomCreated { room_id: room, room_type, creator_id: creator, participant_ids: members, timestamp: at },
    )
}

/// Someone is writing.
pub fn typing(room: RoomId, user: UserId, username: &str) -> Event {
    json("typing", &serde_json::json!({"room_id": room, "user_id": user, "username": username}))
}

/// Someone came online, or went at this time.
pub fn presence(change: &UserOnlineStatusChanged, at: DateTime<Utc>) -> Event {
    let last_seen_at = (!change.is_online).then_some(at);
    let UserOnlineStatusChanged { user_id, is_online } = change;
    json("presence", &serde_json::json!({"user_id": user_id, "is_online": is_online, "last_seen_at": last_seen_at}))
}

/// Someone asks for friendship.
pub fn friend_request(sent: &FriendRequestSent) -> Event {
    let FriendRequestSent { friendship_id, requester_id, requester_name, .. } = sent;
    json(
        "friend_request",
        &serde_json::json!({"friendship_id": friendship_id, "user_id": requester_id, "username": requester_name}),
    )
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
