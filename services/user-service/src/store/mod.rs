//! Accounts, sessions, profiles and the search index in MySQL; cached profiles and rate limits in Redis.

mod accounts;
mod cache;
mod compared_forms;
mod deactivations;
mod directory;
mod emails;
mod existing;
mod limits;
mod login_networks;
mod look_alikes;
mod online_status;
mod profile;
mod profiles;
mod revocations;
mod second_factors;
mod sessions;

pub use accounts::{Accounts, Credentials, LoginAccount, NewAccount, RegisteredAccount};
pub use cache::ProfileCache;
pub use compared_forms::{Collision, ComparedForms, ComparedValue};
pub use deactivations::Deactivations;
pub use directory::Directory;
pub use emails::Emails;
pub use existing::ExistingAccounts;
pub use limits::{LoginBudgets, RateLimits};
pub use login_networks::LoginNetworks;
pub use online_status::OnlineStatus;
pub use profile::{Profile, ProfileView};
pub use profiles::Profiles;
pub use second_factors::{CodeLimit, SecondFactors};
pub use sessions::{ClientInfo, RefreshOutcome, Session, SessionBounds, SessionGrant, Sessions};

use sqlx::MySqlConnection;

use common::error::Error;
use common::id::UserId;
use engines::error::Result;

/// Locks an account's row, so that concurrent changes of one account are serialized.
///
/// # Errors
/// Returns a not-found error if the account does not exist.
async fn lock_user(tx: &mut MySqlConnection, user: UserId) -> Result<()> {
    let found: Option<UserId> =
        sqlx::query_scalar("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(user).fetch_optional(tx).await?;
    Ok(found.map(drop).ok_or_else(user_not_found)?)
}

fn user_not_found() -> Error {
    Error::not_found("User not found")
}
