//! Notices of user-service to the owners of accounts: acts on an account that its owner should hear of.
//!
//! No service of this system consumes them. They are for a company's own notifier, which sends mail for example.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event;
use crate::id::UserId;

/// The request that caused a notice. The address is personal data, and the user agent is a text of the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The session that acts or is acted upon; null if there is none yet, or for a token of the original.
    pub session_id: Option<Uuid>,
    /// The network address of the client; null if it is not known.
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`, at most 255 characters; null if the client sent none.
    pub user_agent: Option<String>,
}

/// A user logged in from a network that is new to the account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoginFromNewNetwork {
    /// The owner of the account.
    pub user_id: UserId,
    /// The login, with the new session.
    #[serde(flatten)]
    pub origin: Origin,
}
event!(LoginFromNewNetwork, NotificationEvents, |e| e.user_id);

/// The password was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PasswordChanged {
    /// The owner of the account.
    pub user_id: UserId,
    /// The change, with the session that stays.
    #[serde(flatten)]
    pub origin: Origin,
    /// The number of other sessions that ended with the change.
    pub ended_sessions: u32,
}
event!(PasswordChanged, NotificationEvents, |e| e.user_id);

/// A refresh token was presented that had been exchanged before, so a copy of it exists. Its session has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefreshTokenReused {
    /// The owner of the account.
    pub user_id: UserId,
    /// The request that presented the token, with the session that ended. It came from the owner or from the thief.
    #[serde(flatten)]
    pub origin: Origin,
}
event!(RefreshTokenReused, NotificationEvents, |e| e.user_id);

/// Logins need a second factor from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondFactorEnabled {
    /// The owner of the account.
    pub user_id: UserId,
    /// The change.
    #[serde(flatten)]
    pub origin: Origin,
}
event!(SecondFactorEnabled, NotificationEvents, |e| e.user_id);

/// Logins need no second factor any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondFactorDisabled {
    /// The owner of the account.
    pub user_id: UserId,
    /// The change.
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether the code was a recovery code and not one of the app.
    pub by_recovery_code: bool,
}
event!(SecondFactorDisabled, NotificationEvents, |e| e.user_id);

/// The password was right and the code of the second factor was not: somebody else may know the password. The first such
/// request after a right code, or after the window of the limit on wrong codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondFactorRefused {
    /// The owner of the account.
    pub user_id: UserId,
    /// The refused request.
    #[serde(flatten)]
    pub origin: Origin,
}
event!(SecondFactorRefused, NotificationEvents, |e| e.user_id);

/// A login used up a recovery code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryCodeUsed {
    /// The owner of the account.
    pub user_id: UserId,
    /// The login, before it has a session.
    #[serde(flatten)]
    pub origin: Origin,
    /// The number of recovery codes that are left.
    pub codes_left: u32,
}
event!(RecoveryCodeUsed, NotificationEvents, |e| e.user_id);

/// The recovery codes were replaced by new ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryCodesRenewed {
    /// The owner of the account.
    pub user_id: UserId,
    /// The change.
    #[serde(flatten)]
    pub origin: Origin,
}
event!(RecoveryCodesRenewed, NotificationEvents, |e| e.user_id);
