//! A short memory of accounts that exist, so that requests with a valid token do not each read the account.

use std::time::Duration;

use moka::sync::Cache;

use common::id::UserId;
use engines::error::Result;

use super::Profiles;

/// Accounts remembered at once; one entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// User ids whose account existed within the cache's time to live.
#[derive(Clone)]
pub struct ExistingAccounts {
    profiles: Profiles,
    confirmed: Cache<UserId, ()>,
}

impl ExistingAccounts {
    pub fn new(profiles: Profiles, ttl: Duration) -> Self {
        Self { profiles, confirmed: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(ttl).build() }
    }

    /// Confirms that an account exists.
    ///
    /// # Errors
    /// Returns a not-found error if the account does not exist.
    pub async fn require(&self, user: UserId) -> Result<()> {
        if !self.confirmed.contains_key(&user) {
            self.profiles.one(user).await?;
            self.confirmed.insert(user, ());
        }
        Ok(())
    }
}
