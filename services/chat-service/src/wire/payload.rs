//! The data of the streams' events, which the frames write and the API document describes.

use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::message::MessageBody;
use crate::domain::Reaction;

/// An event of a stream, by the line `event:`. The line `data:` has the field `data` as JSON.
///
/// `new_message`, `message_edited`, `message_deleted` and `reaction_changed` have a line `id:`, as do the first event of a stream
/// and `resync`. The other events have none. A line `retry:` says how many milliseconds a client waits before it opens the next
/// stream.
#[derive(Serialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
#[expect(dead_code, reason = "only described in the API document; the events are written as text")]
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
    #[schema(example = "Connected to room 1")]
    pub message: String,
    /// Absent on the stream of all rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub room_id: Option<RoomId>,
    pub user_id: UserId,
}

/// A new message.
#[derive(Serialize, ToSchema)]
#[schema(as = NewMessageEvent)]
pub struct NewMessage<'a> {
    #[schema(example = "6565f0a1c2d3e4f5a6b7c8d9")]
    pub id: &'a str,
    pub user_id: UserId,
    #[schema(example = "kim_minjun")]
    pub username: &'a str,
    pub room_id: RoomId,
    /// Empty if the message has been deleted since.
    #[schema(example = "안녕하세요 👋")]
    pub content: &'a str,
    /// `text`, `image`, `file` or `system`.
    #[schema(example = "text")]
    pub message_type: &'a str,
    pub created_at: DateTime<Utc>,
    pub is_deleted: bool,
    /// The position in the room's log.
    #[schema(example = 17)]
    pub seq: i64,
    #[schema(required)]
    pub client_message_id: Option<&'a str>,
    /// The id of the message that this one replies to.
    #[schema(required)]
    pub reply_to: Option<&'a str>,
}

/// A message was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageDeletedEvent)]
pub struct MessageDeleted<'a> {
    #[schema(example = "6565f0a1c2d3e4f5a6b7c8d9")]
    pub message_id: &'a str,
    pub room_id: RoomId,
    pub deleted_by: UserId,
    pub timestamp: DateTime<Utc>,
}

/// A user added or removed a reaction.
#[derive(Serialize, ToSchema)]
#[schema(as = ReactionChangedEvent)]
pub struct ReactionChanged<'a> {
    #[schema(example = "6565f0a1c2d3e4f5a6b7c8d9")]
    pub message_id: &'a str,
    pub room_id: RoomId,
    pub user_id: UserId,
    #[schema(example = "👍")]
    pub emoji: &'a str,
    /// False if the reaction was removed.
    #[schema(example = true)]
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
    #[schema(example = json!(["6565f0a1c2d3e4f5a6b7c8d9"]))]
    pub message_ids: &'a [String],
    /// The position up to which the reader has read the room, if they read all of it.
    #[schema(required, example = 17)]
    pub up_to: Option<i64>,
    pub timestamp: DateTime<Utc>,
}

/// A member is typing.
#[derive(Serialize, ToSchema)]
#[schema(as = TypingEvent)]
pub struct Typing<'a> {
    pub room_id: RoomId,
    pub user_id: UserId,
    #[schema(example = "kim_minjun")]
    pub username: &'a str,
}

/// The reader has a new room.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRoomCreatedEvent)]
pub struct RoomCreated<'a> {
    pub room_id: RoomId,
    /// `direct` or `group`.
    #[schema(example = "direct")]
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
    #[schema(example = true)]
    pub is_online: bool,
    /// Null if the user is online.
    #[schema(required)]
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A friend request to the reader.
#[derive(Serialize, ToSchema)]
#[schema(as = FriendRequestEvent)]
pub struct ReceivedFriendRequest<'a> {
    #[schema(example = 1)]
    pub friendship_id: i64,
    /// The requester.
    pub user_id: UserId,
    #[schema(example = "kim_minjun")]
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
    #[schema(example = "Stream error occurred")]
    pub message: &'static str,
}
