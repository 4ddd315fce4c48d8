//! The body of a room.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use serde::Serialize;
use service::auth::CurrentUser;
use service::clients::user::{UNKNOWN_USERNAME, UserProfile};
use utoipa::ToSchema;

use crate::domain::{MessageType, Room, RoomKind, RoomSettings};
use crate::store::{self, Head};

/// A room as a member sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomBody {
    pub(super) id: RoomId,
    /// Null in a group, as is `user_2_id`.
    #[schema(required)]
    pub(super) user_1_id: Option<UserId>,
    #[schema(required)]
    pub(super) user_2_id: Option<UserId>,
    /// `direct` or `group`.
    pub(super) room_type: &'static str,
    /// The name of a group, if it has one.
    #[schema(required)]
    pub(super) name: Option<String>,
    /// The user who adds and removes members of a group, as long as they are a member.
    #[schema(required)]
    pub(super) creator_id: Option<UserId>,
    pub(super) member_count: usize,
    pub(super) created_at: DateTime<Utc>,
    /// The time of the last activity.
    pub(super) updated_at: DateTime<Utc>,
    /// The members, the caller first.
    pub(super) participants: Vec<Participant>,
    #[schema(required)]
    pub(super) last_message: Option<LastMessage>,
    /// The number of messages of other members that the caller has not read, at most 1,000.
    pub(super) unread_count: i64,
    /// The caller has pinned the room.
    pub(super) pinned: bool,
    /// The caller has muted the room: its unread messages are not part of the total of all rooms.
    pub(super) muted: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Participant {
    pub(super) id: UserId,
    pub(super) username: String,
}

/// The newest message that is not deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastMessage {
    pub(super) id: String,
    pub(super) user_id: UserId,
    /// The first 300 code points.
    pub(super) content: String,
    pub(super) message_type: MessageType,
    pub(super) created_at: DateTime<Utc>,
}

impl RoomBody {
    pub fn of(
        room: Room,
        head: Option<&Head>,
        unread_count: i64,
        RoomSettings { pinned, muted }: RoomSettings,
        me: &CurrentUser,
        profiles: &HashMap<UserId, Arc<UserProfile>>,
    ) -> Self {
        let mut members = room.members.clone();
        members.sort_by_key(|member| *member != me.id);
        let participants = members.into_iter().map(|id| Participant { id, username: name(id, me, profiles) }).collect();
        let (user_1_id, user_2_id) = room.kind.pair().map(|pair| (pair.low, pair.high)).unzip();
        let (room_type, updated_at) = (room.kind.as_str(), Head::last_activity(&room, head));
        let (name, creator_id) = match room.kind {
            RoomKind::Group { name, creator } => (name, creator),
            RoomKind::Direct(_) => (None, None),
        };
        Self {
            id: room.id,
            user_1_id,
            user_2_id,
            room_type,
            name,
            creator_id,
            member_count: room.members.len(),
            created_at: room.created_at,
            updated_at,
            participants,
            last_message: head.and_then(|head| head.last.as_ref()).map(LastMessage::of),
            unread_count,
            pinned,
            muted,
        }
    }
}

fn name(id: UserId, me: &CurrentUser, profiles: &HashMap<UserId, Arc<UserProfile>>) -> String {
    let cached = profiles.get(&id).map(|profile| profile.username.as_str());
    let own = me.username.as_deref().filter(|_| id == me.id);
    cached.or(own).unwrap_or(UNKNOWN_USERNAME).to_owned()
}

impl LastMessage {
    fn of(last: &store::LastMessage) -> Self {
        Self {
            id: last.id.to_hex(),
            user_id: last.user_id,
            content: last.content.clone(),
            message_type: last.message_type,
            created_at: last.created_at,
        }
    }
}
