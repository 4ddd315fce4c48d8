//! Events of the streams. An event is serialized once and shared by all its readers.

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::events::chat::{MessageSent, MessagesRead};
use common::events::friend::FriendRequestSent;
use common::events::user::UserOnlineStatusChanged;
use common::id::{RoomId, UserId};
use serde::Serialize;
use service::clients::user::UNKNOWN_USERNAME;

use super::message::MessageBody;
use super::payload::{
    Connected, MessageDeleted, NewMessage, Presence, ReactionChanged, ReadByOthers, ReceivedFriendRequest, Resync,
    RoomCreated, RoomLeft, RoomSettingsBody, StreamError, Typing,
};
use crate::domain::{EntryKind, FileState, Message, RoomSettings, RosterChange};
use crate::store::{Entry, LogPosition};

/// The event of one position in a room's log. Each stream adds the id in its own format.
#[derive(Debug)]
pub struct Frame {
    pub position: i64,
    pub event: Event,
    /// The memory that the event takes.
    pub bytes: usize,
    /// The time of the message, for a `new_message` only.
    pub sent_at: Option<DateTime<Utc>>,
    /// The change of members that a system message announces.
    pub roster_change: Option<RosterChange>,
}

impl Frame {
    /// The frame of a log entry, with the message in its latest state.
    pub fn of_entry(entry: &Entry, message: &Message) -> Self {
        let id = message.id.to_hex();
        // The content of a deleted message is not shown, even in the frame of its send.
        let is_kept = !message.is_deleted;
        let content = if is_kept { &*message.content } else { "" };
        let (name, data) = match entry.kind {
            EntryKind::Sent => (
                "new_message",
                text(&NewMessage {
                    id: &id,
                    user_id: message.user_id,
                    username: message.username.as_deref().unwrap_or(UNKNOWN_USERNAME),
                    room_id: message.room_id,
                    content,
                    message_type: message.message_type.as_str(),
                    created_at: message.created_at,
                    is_deleted: message.is_deleted,
                    seq: entry.id.position,
                    client_message_id: message.client_message_id.as_deref(),
                    reply_to: message.reply_to.as_deref(),
                    file_url: message.file_url.as_deref().filter(|_| is_kept),
                    file_name: message.file_name.as_deref().filter(|_| is_kept),
                    file_size: message.file_size.filter(|_| is_kept),
                    file_type: message.file_type.as_deref().filter(|_| is_kept),
                    file_state: message.file_state.filter(|_| is_kept),
                    image: message.image.as_ref().filter(|_| is_kept),
                }),
            ),
            EntryKind::Edited => ("message_edited", text(&MessageBody::of(message))),
            EntryKind::Deleted => {
                let timestamp = message.deleted_at.unwrap_or(message.updated_at);
                let (message_id, room_id, deleted_by) = (&*id, message.room_id, entry.by);
                ("message_deleted", text(&MessageDeleted { message_id, room_id, deleted_by, timestamp }))
            }
            EntryKind::Reacted => {
                let reaction = entry.reaction.as_ref();
                let (emoji, added) = reaction.map_or(("", false), |reaction| (&*reaction.emoji, reaction.added));
                let (message_id, room_id, user_id, reactions) = (&*id, message.room_id, entry.by, &*message.reactions);
                ("reaction_changed", text(&ReactionChanged { message_id, room_id, user_id, emoji, added, reactions }))
            }
        };
        let sent = entry.kind == EntryKind::Sent;
        let sent_at = sent.then_some(message.created_at);
        let roster_change = message.roster_change.clone().filter(|_| sent);
        Self::new(entry.id.position, name, &data, sent_at, roster_change)
    }

    /// The frame of a log entry whose message an operator removed from the store. The message is told as deleted.
    pub fn of_removed(entry: &Entry) -> Self {
        let LogPosition { room, position } = entry.id;
        Self::of_entry(entry, &Message::removed(entry.message_id, room, entry.by, position))
    }

    /// The frame of a message that another replica committed. Its event contains all fields.
    pub fn of_event(sent: &MessageSent, at: DateTime<Utc>) -> Self {
        let data = text(&NewMessage {
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
            file_url: sent.file_url.as_deref(),
            file_name: sent.file_name.as_deref(),
            file_size: sent.file_size,
            file_type: sent.file_type.as_deref(),
            file_state: sent.file_state.as_deref().and_then(FileState::parse),
            image: None,
        });
        Self::new(sent.position, "new_message", &data, Some(at), None)
    }

    fn new(
        position: i64,
        name: &str,
        data: &str,
        sent_at: Option<DateTime<Utc>>,
        roster_change: Option<RosterChange>,
    ) -> Self {
        // The buffer of an event grows by doubling; a copy of it has no spare capacity.
        let event = Event::default().event(name).data(data).clone();
        Self { position, event, bytes: size_of::<Self>() + data.len(), sent_at, roster_change }
    }
}

/// The first event of the stream of one room, or of all rooms.
pub fn connected(room: Option<RoomId>, user: UserId) -> Event {
    json("connected", &Connected::new(room, user))
}

/// The last event of a stream that fails.
pub fn error() -> Event {
    json("error", &StreamError { message: "Stream error occurred" })
}

/// A new room of the reader.
pub fn chat_room_created(room: RoomId, direct: bool, creator: UserId, members: &[UserId], at: DateTime<Utc>) -> Event {
    let room_type = if direct { "direct" } else { "group" };
    json(
        "chat_room_created",
        &RoomCreated { room_id: room, room_type, creator_id: creator, participant_ids: members, timestamp: at },
    )
}

/// The reader is no longer a member of the room: they left, or another user removed them. Who ended the membership and when is
/// unknown to a stream that begins after it.
pub fn chat_room_left(room: RoomId, user: UserId, end: Option<(UserId, DateTime<Utc>)>) -> Event {
    let (by, at) = end.unzip();
    json("chat_room_left", &RoomLeft { room_id: room, user_id: user, by, timestamp: at })
}

/// The reader has to fetch the room, or all rooms, anew: the stream cannot continue at the reader's position.
pub fn resync(room: Option<RoomId>) -> Event {
    json("resync", &Resync { room_id: room })
}

/// A member is typing.
pub fn typing(room: RoomId, user: UserId, username: &str) -> Event {
    json("typing", &Typing { room_id: room, user_id: user, username })
}

/// The reader has changed their settings for a room, on any device.
pub fn chat_room_settings(room: RoomId, RoomSettings { pinned, muted }: RoomSettings) -> Event {
    json("chat_room_settings", &RoomSettingsBody { room_id: room, pinned, muted })
}

/// A user came online, or went offline at this time.
pub fn presence(change: &UserOnlineStatusChanged, at: DateTime<Utc>) -> Event {
    let last_seen_at = (!change.is_online).then_some(at);
    json("presence", &Presence { user_id: change.user_id, is_online: change.is_online, last_seen_at })
}

/// A friend request to the reader.
pub fn friend_request(sent: &FriendRequestSent) -> Event {
    let FriendRequestSent { friendship_id, requester_id, requester_name, .. } = sent;
    json(
        "friend_request",
        &ReceivedFriendRequest { friendship_id: *friendship_id, user_id: *requester_id, username: requester_name },
    )
}

/// A read of a member. It is not in the log, so it has no position and no id.
pub fn messages_read(read: &MessagesRead, timestamp: DateTime<Utc>) -> Event {
    let MessagesRead { room_id, user_id, message_ids, up_to } = read;
    let (room_id, user_id, up_to) = (*room_id, *user_id, *up_to);
    json("messages_read", &ReadByOthers { room_id, user_id, message_ids, up_to, timestamp })
}

fn json<T: Serialize>(name: &'static str, data: &T) -> Event {
    Event::default().event(name).data(text(data))
}

fn text<T: Serialize>(data: &T) -> String {
    // Serialization fails only for maps whose keys are not strings; these types have none.
    serde_json::to_string(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_has_no_id() {
        let read = MessagesRead { room_id: RoomId(1), user_id: UserId(2), message_ids: Vec::new(), up_to: Some(3) };
        let event = format!("{:?}", messages_read(&read, Utc::now()));
        assert!(event.contains("event: messages_read") && !event.contains("\\nid: "), "{event}");
    }
}
