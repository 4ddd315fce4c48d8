//! Events of user-service: registrations, profiles and presence.

use serde::{Deserialize, Serialize};

use super::event;
use crate::id::UserId;

/// A user registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRegistered {
    /// The new user.
    pub user_id: UserId,
    /// The e-mail address.
    pub email: String,
    /// The unique name.
    pub username: String,
    /// The name to show; the username where the user gave none.
    pub display_name: String,
}
event!(UserRegistered, UserEvents, |e| e.user_id);

/// A user changed the profile. The fields have the values after the change; null where the user cleared one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserProfileUpdated {
    /// The user.
    pub user_id: UserId,
    /// The name to show.
    pub display_name: Option<String>,
    /// The status message.
    pub status_message: Option<String>,
}
event!(UserProfileUpdated, UserEvents, |e| e.user_id);

/// A user went online or offline. Each change is published once; the event's timestamp is the last sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserOnlineStatusChanged {
    /// The user.
    pub user_id: UserId,
    /// Whether the user is online now.
    pub is_online: bool,
}
event!(UserOnlineStatusChanged, UserOnlineStatus, |e| e.user_id);
