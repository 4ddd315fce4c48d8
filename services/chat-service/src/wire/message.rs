//! The body of a message.

use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{FileState, Message, MessageType, Picture, Reaction};

/// A message, as in answers and in `message_edited`.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    pub(super) id: String,
    pub(super) user_id: UserId,
    pub(super) room_id: RoomId,
    /// `private` or `group`, as in the original: `private` is the `direct` of a room.
    pub(super) room_type: String,
    /// Empty if the message is deleted.
    pub(super) content: String,
    pub(super) message_type: MessageType,
    /// The path of the file, for requests with an access token; it redirects to the store. The four fields are null for a message
    /// without a file and for a deleted one.
    #[schema(required)]
    pub(super) file_url: Option<String>,
    #[schema(required)]
    pub(super) file_name: Option<String>,
    #[schema(required)]
    pub(super) file_size: Option<i64>,
    #[schema(required)]
    pub(super) file_type: Option<String>,
    /// Null for a message without a file, for a deleted one, and for a file of the original. `message_edited` announces each change.
    #[schema(required)]
    pub(super) file_state: Option<FileState>,
    /// Present for a file that is shown as a picture; `GET /messages/{id}/thumbnail` has it in two sizes.
    #[schema(required)]
    pub(super) image: Option<Picture>,
    pub(super) is_deleted: bool,
    #[schema(required)]
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) is_edited: bool,
    #[schema(required)]
    pub(super) edited_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    /// The position in the room's log at which the message was sent. Null for a message of the original that has no position yet.
    #[schema(required)]
    pub(super) seq: Option<i64>,
    /// The name of the author when they sent the message. Null for messages of the original.
    #[schema(required)]
    pub(super) username: Option<String>,
    /// The id that the author gave the message; null if they gave none.
    #[schema(required)]
    pub(super) client_message_id: Option<String>,
    /// The id of the message that this one replies to.
    #[schema(required)]
    pub(super) reply_to: Option<String>,
    pub(super) reactions: Vec<Reaction>,
    /// The first 20 members who have read the message, by their ids. Only pages have the three fields about readers: they are null in the
    /// answers to changes, in search results, in `message_edited`, for system messages, and while `seq` is null.
    #[schema(required)]
    pub(super) read_by: Option<Vec<UserId>>,
    /// The number of members who have read the message.
    #[schema(required)]
    pub(super) read_by_count: Option<usize>,
    /// Of an own message, whether another member has read it; of another one, whether the caller has.
    #[schema(required)]
    pub(super) is_read: Option<bool>,
}

impl MessageBody {
    pub fn of(message: &Message) -> Self {
        Self {
            id: message.id.to_hex(),
            user_id: message.user_id,
            room_id: message.room_id,
            room_type: message.room_type.clone(),
            content: if message.is_deleted { String::new() } else { message.content.clone() },
            message_type: message.message_type,
            file_url: message.file_url.clone().filter(|_| !message.is_deleted),
            file_name: message.file_name.clone().filter(|_| !message.is_deleted),
            file_size: message.file_size.filter(|_| !message.is_deleted),
            file_type: message.file_type.clone().filter(|_| !message.is_deleted),
            file_state: message.file_state.filter(|_| !message.is_deleted),
            image: message.image.clone().filter(|_| !message.is_deleted),
            is_deleted: message.is_deleted,
            deleted_at: message.deleted_at,
            is_edited: message.is_edited,
            edited_at: message.edited_at,
            created_at: message.created_at,
            updated_at: message.updated_at,
            seq: message.seq,
            username: message.username.clone(),
            client_message_id: message.client_message_id.clone(),
            reply_to: message.reply_to.clone(),
            reactions: message.reactions.clone(),
            read_by: None,
            read_by_count: None,
            is_read: None,
        }
    }
}
