//! What chat-service tells: the log of each room, reads, and who is in which room.
//!
//! `position` is the place in the room's log, by which consumers order `message.events`: two replicas may append within
//! milliseconds in either order. The original has none: 0.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event;
use crate::id::{RoomId, UserId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageSent {
    pub message_id: String,
    pub room_id: RoomId,
    pub user_id: UserId,
    pub username: String,
    pub content: String,
    pub message_type: String,
    /// Equals `position`.
    #[serde(default)]
    pub seq: i64,
    #[serde(default)]
    pub position: i64,
    pub client_message_id: Option<String>,
    pub reply_to: Option<String>,
}
event!(MessageSent, MessageEvents, |e| e.room_id);

/// Reads are not history and have no position of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessagesRead {
    pub room_id: RoomId,
    pub user_id: UserId,
    /// At most 1,000; of a whole room `up_to` says the rest.
    pub message_ids: Vec<String>,
    /// The position of the reader's mark, when the whole room was read.
    pub up_to: Option<i64>,
}
event!(MessagesRead, MessageEvents, |e| e.room_id);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageDeleted {
    pub message_id: String,
    pub room_id: RoomId,
    pub deleted_by: UserId,
    #[serde(default)]
    pub position: i64,
}
event!(MessageDeleted, MessageEvents, |e| e.room_id);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageEdited {
    pub message_id: String,
    pub room_id: RoomId,
    pub user_id: UserId,
    /// The new text.
    pub content: String,
    pub edited_at: DateTime<Utc>,
    pub position: i64,
}
event!(MessageEdited, MessageEvents, |e| e.room_id);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReactionChanged {
    pub message_id: String,
    pub room_id: RoomId,
    pub user_id: UserId,
    pub emoji: String,
    /// False when it was taken back.
    pub added: bool,
    /// All reactions of the message after the change.
    pub reactions: Vec<Reaction>,
    pub position: i64,
}
event!(ReactionChanged, MessageEvents, |e| e.room_id);

/// Who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reaction {
    pub emoji: String,
    pub count: u64,
    pub user_ids: Vec<UserId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRoomCreated {
    pub room_id: RoomId,
    /// `direct` or `group`.
    pub room_type: String,
    pub creator_id: UserId,
    pub participant_ids: Vec<UserId>,
}
event!(ChatRoomCreated, ChatEvents, |e| e.room_id);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberAdded {
    pub room_id: RoomId,
    pub user_id: UserId,
    /// Who added them.
    pub by: UserId,
}
event!(MemberAdded, ChatEvents, |e| e.room_id);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberLeft {
    pub room_id: RoomId,
    pub user_id: UserId,
    /// Who removed them; the same person when they left.
    pub by: UserId,
}
event!(MemberLeft, ChatEvents, |e| e.room_id);
