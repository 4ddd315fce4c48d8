//! Events of chat-service: the log of each room, read receipts and memberships.
//!
//! `position` is the place of an event in its room's log. Consumers order `message.events` by it, because two replicas
//! may publish within milliseconds in either order. Events of the original have none, which reads as 0.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event;
use crate::id::{RoomId, UserId};

/// A user sent a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageSent {
    /// The message, as 24 hexadecimal digits.
    pub message_id: String,
    /// The room.
    pub room_id: RoomId,
    /// The sender.
    pub user_id: UserId,
    /// The sender's username; `Unknown` where user-service was unavailable.
    pub username: String,
    /// The text.
    pub content: String,
    /// `text`, `image`, `file` or `system`.
    pub message_type: String,
    /// The same as `position`.
    #[serde(default)]
    pub seq: i64,
    /// The place in the room's log.
    #[serde(default)]
    pub position: i64,
    /// The id that the sender's client gave the message, so that it can repeat the request.
    pub client_message_id: Option<String>,
    /// The message that this one replies to.
    pub reply_to: Option<String>,
    /// The path of the download of the message's file, for members of the room. The four fields are null without a file.
    #[serde(default)]
    pub file_url: Option<String>,
    /// The name that the sender gave the file.
    #[serde(default)]
    pub file_name: Option<String>,
    /// The size of the file in bytes.
    #[serde(default)]
    pub file_size: Option<i64>,
    /// The media type of the file.
    #[serde(default)]
    pub file_type: Option<String>,
    /// `pending` while the file is checked, `ready` where it needs no check.
    #[serde(default)]
    pub file_state: Option<String>,
}
event!(MessageSent, MessageEvents, |e| e.room_id);

/// The file of a message was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageFileChecked {
    /// The message.
    pub message_id: String,
    /// The room.
    pub room_id: RoomId,
    /// The sender.
    pub user_id: UserId,
    /// `image`, or `file` for one without a picture.
    pub message_type: String,
    /// `ready` or `rejected`.
    pub file_state: String,
    /// The size of the file in bytes, without the metadata of a picture.
    pub file_size: Option<i64>,
    /// The place in the room's log.
    pub position: i64,
}
event!(MessageFileChecked, MessageEvents, |e| e.room_id);

/// A user read messages. Read receipts are not part of the log and have no position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessagesRead {
    /// The room.
    pub room_id: RoomId,
    /// The reader.
    pub user_id: UserId,
    /// The messages, at most 1,000; `up_to` covers the others when the user read the whole room.
    pub message_ids: Vec<String>,
    /// The position of the user's read marker, when the user read the whole room.
    pub up_to: Option<i64>,
}
event!(MessagesRead, MessageEvents, |e| e.room_id);

/// A message was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageDeleted {
    /// The message.
    pub message_id: String,
    /// The room.
    pub room_id: RoomId,
    /// The user who deleted it.
    pub deleted_by: UserId,
    /// The place in the room's log.
    #[serde(default)]
    pub position: i64,
}
event!(MessageDeleted, MessageEvents, |e| e.room_id);

/// The sender edited a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageEdited {
    /// The message.
    pub message_id: String,
    /// The room.
    pub room_id: RoomId,
    /// The sender.
    pub user_id: UserId,
    /// The new text.
    pub content: String,
    /// When it was edited.
    pub edited_at: DateTime<Utc>,
    /// The place in the room's log.
    pub position: i64,
}
event!(MessageEdited, MessageEvents, |e| e.room_id);

/// A user added or removed a reaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReactionChanged {
    /// The message.
    pub message_id: String,
    /// The room.
    pub room_id: RoomId,
    /// The user who reacted.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: String,
    /// Whether the reaction was added; false when it was removed.
    pub added: bool,
    /// All reactions of the message after the change.
    pub reactions: Vec<Reaction>,
    /// The place in the room's log.
    pub position: i64,
}
event!(ReactionChanged, MessageEvents, |e| e.room_id);

/// The users who reacted to a message with one emoji.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The number of users.
    pub count: u64,
    /// The users.
    pub user_ids: Vec<UserId>,
}

/// A user created a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRoomCreated {
    /// The new room.
    pub room_id: RoomId,
    /// `direct` or `group`.
    pub room_type: String,
    /// The user who created it.
    pub creator_id: UserId,
    /// The first members, the creator among them.
    pub participant_ids: Vec<UserId>,
}
event!(ChatRoomCreated, ChatEvents, |e| e.room_id);

/// A user was added to a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// The room.
    pub room_id: RoomId,
    /// The new member.
    pub user_id: UserId,
    /// The user who added the member.
    pub by: UserId,
}
event!(MemberAdded, ChatEvents, |e| e.room_id);

/// A user left a room or was removed from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberLeft {
    /// The room.
    pub room_id: RoomId,
    /// The former member.
    pub user_id: UserId,
    /// The user who removed the member; the member itself when the member left.
    pub by: UserId,
}
event!(MemberLeft, ChatEvents, |e| e.room_id);
