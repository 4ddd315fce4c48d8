//! Accounts, sessions and names in MySQL; copies, counters and presence in Redis.

mod accounts;
mod cache;
mod directory;
mod existing;
mod limits;
mod profile;
mod profiles;
mod sessions;
mod status;

pub use accounts::{Accounts, Credentials, NewAccount, Registered};
pub use cache::ProfileCache;
pub use directory::Directory;
pub use existing::ExistingAccounts;
pub use limits::Limits;
pub use profile::Profile;
pub use profiles::Profiles;
pub use sessions::{ClientInfo, Opened, Refreshed, Session, Sessions};
pub use status::Status;

use sqlx::{MySql, MySqlConnection, QueryBuilder};

use common::error::Result;
use common::id::UserId;

/// Makes changes of one account take turns. False where there is no such account.
async fn lock_user(tx: &mut MySqlConnection, user: UserId) -> Result<bool> {
    let found: Option<UserId> =
        sqlx::query_scalar("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(user).fetch_optional(tx).await?;
    Ok(found.is_some())
}

/// Goes on with `(?, ?, …)`.
fn among(mut query: QueryBuilder<MySql>, users: &[UserId]) -> QueryBuilder<MySql> {
    query.push("(");
    let mut list = query.separated(", ");
    for user in users {
        list.push_bind(*user);
    }
    query.push(")");
    query
}
