//! The data of the streams' events, which the frames write and the API document describes.

use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::message::MessageBody;
use crate::domain::{FileState, MessageType, Picture, Reaction};

/// An event of a stream, by the line `event:`. The line `data:` has the field `data` as JSON.
///
/// `new_message`, `message_edited`, `message_deleted`, `reaction_changed` and `resync` have a line `id:`, as does `connected` unless
/// `resync` follows it. The other events have none. A line `retry:` says how many milliseconds a client waits before it opens the next
/// stream.
#[derive(Serialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum StreamEvent<'a> {
    Connected(Connected),
    NewMessage(NewMessage<'a>),
    MessageEdited(Box<MessageBody>),
    MessageDeleted(MessageDeleted<'a>),
    ReactionChanged(ReactionChanged<'a>),
    MessagesRead(ReadByOthers<'a>),
    Typing(Typing<'a>),
    ChatRoomCreated(RoomCreated<'a>),
    ChatRoomLeft(RoomLeft),
    ChatRoomSettings(RoomSettingsBody),
    Presence(Presence),
    FriendRequest(ReceivedFriendRequest<'a>),
    Resync(Resync),
    Error(StreamError),
}

/// The stream is open.
#[derive(Serialize, ToSchema)]
pub struct Connected {
    pub message: String,
    /// Absent on the stream of all rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub room_id: Option<RoomId>,
    pub user_id: UserId,
}

impl Connected {
    /// For the stream of one room, or of all rooms.
    pub fn new(room: Option<RoomId>, user: UserId) -> Self {
        let to = room.map_or_else(|| "all rooms".to_owned(), |room| format!("room {room}"));
        Self { message: format!("Connected to {to}"), room_id: room, user_id: user }
    }
}

/// A new message.
#[derive(Serialize, ToSchema)]
#[schema(as = NewMessageEvent)]
pub struct NewMessage<'a> {
    pub id: &'a str,
    pub user_id: UserId,
    /// The name of the author when they sent the message; `Unknown` for a message of the original.
    pub username: &'a str,
    pub room_id: RoomId,
    /// Empty if the message has been deleted since.
    pub content: &'a str,
    #[schema(value_type = MessageType)]
    pub message_type: &'a str,
    pub created_at: DateTime<Utc>,
    pub is_deleted: bool,
    /// The position in the room's log.
    pub seq: i64,
    /// The id that the author gave the message; null if they gave none.
    #[schema(required)]
    pub client_message_id: Option<&'a str>,
    /// The id of the message that this one replies to.
    #[schema(required)]
    pub reply_to: Option<&'a str>,
    /// The path of the file, for requests with an access token. The four fields are null for a message without a file, and for one
    /// that has been deleted since.
    #[schema(required)]
    pub file_url: Option<&'a str>,
    #[schema(required)]
    pub file_name: Option<&'a str>,
    #[schema(required)]
    pub file_size: Option<i64>,
    #[schema(required)]
    pub file_type: Option<&'a str>,
    /// Null for a message without a file, and for a file of the original.
    #[schema(required)]
    pub file_state: Option<FileState>,
    /// Present for a file that is shown as a picture. `message_edited` brings it when the file is checked.
    #[schema(required)]
    pub image: Option<&'a Picture>,
}

/// A message was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageDeletedEvent)]
pub struct MessageDeleted<'a> {
    pub message_id: &'a str,
    pub room_id: RoomId,
    pub deleted_by: UserId,
    pub timestamp: DateTime<Utc>,
}

/// A user added or removed a reaction.
#[derive(Serialize, ToSchema)]
#[schema(as = ReactionChangedEvent)]
pub struct ReactionChanged<'a> {
    pub message_id: &'a str,
    pub room_id: RoomId,
    pub user_id: UserId,
    pub emoji: &'a str,
    /// False if the reaction was removed.
    pub added: bool,
    /// All reactions of the message.
    pub reactions: &'a [Reaction],
}

/// A member read messages.
#[derive(Serialize, ToSchema)]
#[schema(as = MessagesReadEvent)]
pub struct ReadByOthers<'a> {
    pub room_id: RoomId,
    /// The reader.
    pub user_id: UserId,
    /// The messages, at most 1,000.
    pub message_ids: &'a [String],
    /// The position up to which the reader has read the room, if they read all of it.
    #[schema(required)]
    pub up_to: Option<i64>,
    pub timestamp: DateTime<Utc>,
}

/// A member is typing.
#[derive(Serialize, ToSchema)]
#[schema(as = TypingEvent)]
pub struct Typing<'a> {
    pub room_id: RoomId,
    pub user_id: UserId,
    pub username: &'a str,
}

/// The reader has a new room.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRoomCreatedEvent)]
pub struct RoomCreated<'a> {
    pub room_id: RoomId,
    /// `direct` or `group`.
    pub room_type: &'a str,
    pub creator_id: UserId,
    pub participant_ids: &'a [UserId],
    pub timestamp: DateTime<Utc>,
}

/// The reader is no longer a member of the room: they left, or another user removed them.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRoomLeftEvent)]
pub struct RoomLeft {
    pub room_id: RoomId,
    /// The reader.
    pub user_id: UserId,
    /// The user who ended the membership; null in a stream that begins after the end.
    #[schema(required)]
    pub by: Option<UserId>,
    /// Null in a stream that begins after the end.
    #[schema(required)]
    pub timestamp: Option<DateTime<Utc>>,
}

/// The caller's settings for a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomSettingsBody {
    pub room_id: RoomId,
    pub pinned: bool,
    /// The room's unread messages are not part of the total of `GET /chat-rooms/unread`.
    pub muted: bool,
}

/// A user who shares a direct room with the reader came online or went offline.
#[derive(Serialize, ToSchema)]
#[schema(as = PresenceEvent)]
pub struct Presence {
    pub user_id: UserId,
    pub is_online: bool,
    /// Null if the user is online.
    #[schema(required)]
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A friend request to the reader.
#[derive(Serialize, ToSchema)]
#[schema(as = FriendRequestEvent)]
pub struct ReceivedFriendRequest<'a> {
    pub friendship_id: i64,
    /// The requester.
    pub user_id: UserId,
    pub username: &'a str,
}

/// The stream cannot continue where the reader stopped: the reader fetches the room, or all rooms, anew.
#[derive(Serialize, ToSchema)]
pub struct Resync {
    /// The room to fetch; absent if it is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub room_id: Option<RoomId>,
}

/// The stream ends because the server failed. The reader opens another one.
#[derive(Serialize, ToSchema)]
pub struct StreamError {
    pub message: &'static str,
}
