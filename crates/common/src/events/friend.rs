//! Events of friend-service: how two users relate.
//!
//! The key is the smaller id of the two users, so that the events between them keep their order. (The original's key is
//! the id of the friendship or of the requester.)

use serde::{Deserialize, Serialize};

use super::event;
use crate::id::UserId;

/// A user requested a friendship.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestSent {
    /// The row of the request.
    pub friendship_id: i64,
    /// The user who requested.
    pub requester_id: UserId,
    /// The requester's username; `Unknown` where user-service was unavailable.
    pub requester_name: String,
    /// The user who received the request.
    pub addressee_id: UserId,
    /// The addressee's username; `Unknown` where user-service was unavailable.
    pub addressee_name: String,
}
event!(FriendRequestSent, FriendEvents, |e| e.requester_id.min(e.addressee_id));

/// The addressee accepted a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestAccepted {
    /// The row of the friendship.
    pub friendship_id: i64,
    /// The user who requested.
    pub requester_id: UserId,
    /// The requester's username; `Unknown` where user-service was unavailable.
    pub requester_name: String,
    /// The user who accepted.
    pub addressee_id: UserId,
    /// The addressee's username; `Unknown` where user-service was unavailable.
    pub addressee_name: String,
}
event!(FriendRequestAccepted, FriendEvents, |e| e.requester_id.min(e.addressee_id));

/// The addressee rejected a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestRejected {
    /// The row of the request; absent in events of the original, which sends 0.
    #[serde(with = "known")]
    pub friendship_id: Option<i64>,
    /// The user who requested.
    pub requester_id: UserId,
    /// The user who rejected.
    pub addressee_id: UserId,
}
event!(FriendRequestRejected, FriendEvents, |e| e.requester_id.min(e.addressee_id));

/// The requester cancelled a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRequestCancelled {
    /// The row of the request; absent in events of the original, which sends 0.
    #[serde(with = "known")]
    pub friendship_id: Option<i64>,
    /// The user who cancelled.
    pub requester_id: UserId,
    /// The user who had received the request.
    pub addressee_id: UserId,
}
event!(FriendRequestCancelled, FriendEvents, |e| e.requester_id.min(e.addressee_id));

/// A user ended a friendship, by removing or by blocking the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FriendRemoved {
    /// The row of the friendship.
    pub friendship_id: i64,
    /// The user who ended it.
    pub user_id: UserId,
    /// The other user.
    pub friend_id: UserId,
}
event!(FriendRemoved, FriendEvents, |e| e.user_id.min(e.friend_id));

/// A user blocked another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserBlocked {
    /// The user who blocked.
    pub user_id: UserId,
    /// The other user.
    pub blocked_user_id: UserId,
}
event!(UserBlocked, FriendEvents, |e| e.user_id.min(e.blocked_user_id));

/// A user unblocked another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserUnblocked {
    /// The user who unblocked.
    pub user_id: UserId,
    /// The other user.
    pub blocked_user_id: UserId,
}
event!(UserUnblocked, FriendEvents, |e| e.user_id.min(e.blocked_user_id));

/// The original sends 0 for a friendship whose row it has not read.
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
