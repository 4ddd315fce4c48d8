//! What user-service tells: who there is, what they show of themselves, who is online.

use serde::{Deserialize, Serialize};

use super::event;
use crate::id::UserId;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRegistered {
    pub user_id: UserId,
    pub email: String,
    pub username: String,
    /// The username where none was given.
    pub display_name: String,
}
event!(UserRegistered, UserEvents, |e| e.user_id);

/// The profile as it is now: null where something was cleared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserProfileUpdated {
    pub user_id: UserId,
    pub display_name: Option<String>,
    pub status_message: Option<String>,
}
event!(UserProfileUpdated, UserEvents, |e| e.user_id);

/// A change, never a repetition; its timestamp is when the person was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserOnlineStatusChanged {
    pub user_id: UserId,
    pub is_online: bool,
}
event!(UserOnlineStatusChanged, UserOnlineStatus, |e| e.user_id);
