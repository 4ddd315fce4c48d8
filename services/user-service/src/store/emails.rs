//! The e-mail addresses that users see in their own profiles.
//!
//! They are personal data and stay out of Redis. No operation changes one, so a replica may remember them for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sqlx::MySqlPool;

use common::id::UserId;
use engines::error::Result;

use super::user_not_found;

/// Addresses remembered at once; one entry takes about 150 bytes.
const MAX_REMEMBERED: u64 = 20_000;

/// After this time, a replica shows an address that an operator has changed in the table.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// The column `email` of `users`.
#[derive(Clone)]
pub struct Emails {
    pool: MySqlPool,
    remembered: Cache<UserId, Arc<str>>,
}

impl Emails {
    pub fn new(pool: MySqlPool) -> Self {
        let remembered = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { pool, remembered }
    }

    /// The e-mail address of a user.
    ///
    /// # Errors
    /// Returns a not-found error if the user does not exist.
    pub async fn of(&self, user: UserId) -> Result<Arc<str>> {
        if let Some(email) = self.remembered.get(&user) {
            return Ok(email);
        }
        let email: Option<String> =
            sqlx::query_scalar("SELECT email FROM users WHERE id = ?").bind(user).fetch_optional(&self.pool).await?;
        let email: Arc<str> = email.ok_or_else(user_not_found)?.into();
        self.remembered.insert(user, email.clone());
        Ok(email)
    }
}
