//! What friend-service tells: how two people relate.
//!
//! The key is the smaller id of the two, so everything between them keeps its order. (The original's key is the
//! friendship, or who asked.)

use serde::{Deserialize, Serialize};

use super::event;
use crate::id::UserId;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestSent {
    pub friendship_id: i64,
    pub requester_id: UserId,
    /// `Unknown` where user-service could not be asked.
    pub requester_name: String,
    pub addressee_id: UserId,
    pub addressee_name: String,
}
event!(FriendRequestSent, FriendEvents, |e| e.requester_id.min(e.addressee_id));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestAccepted {
    pub friendship_id: i64,
    pub requester_id: UserId,
    pub requester_name: String,
    pub addressee_id: UserId,
    pub addressee_name: String,
}
event!(FriendRequestAccepted, FriendEvents, |e| e.requester_id.min(e.addressee_id));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestRejected {
    #[serde(with = "known")]
    pub friendship_id: Option<i64>,
    pub requester_id: UserId,
    pub addressee_id: UserId,
}
event!(FriendRequestRejected, FriendEvents, |e| e.requester_id.min(e.addressee_id));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestCancelled {
    #[serde(with = "known")]
    pub friendship_id: Option<i64>,
    pub requester_id: UserId,
    pub addressee_id: UserId,
}
event!(FriendRequestCancelled, FriendEvents, |e| e.requester_id.min(e.addressee_id));

/// `user_id` ended the friendship with `friend_id`, by removing or by blocking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRemoved {
    pub friendship_id: i64,
    pub user_id: UserId,
    pub friend_id: UserId,
}
event!(FriendRemoved, FriendEvents, |e| e.user_id.min(e.friend_id));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserBlocked {
    pub user_id: UserId,
    pub blocked_user_id: UserId,
}
event!(UserBlocked, FriendEvents, |e| e.user_id.min(e.blocked_user_id));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserUnblocked {
    pub user_id: UserId,
    pub blocked_user_id: UserId,
}
event!(UserUnblocked, FriendEvents, |e| e.user_id.min(e.blocked_user_id));

/// The original sends 0 for a friendship that it has not looked up.
mod known {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(id.unwrap_or(0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
        let id = Option::<i64>::deserialize(from)?;
        Ok(id.filter(|id| *id > 0))
    }
}
