//! Rate limits on failed logins, failed refreshes and registrations: counters in Redis.
//!
//! Logins and refreshes count only when they fail, so many honest users behind one address never reach a limit. A
//! password attempt is checked before *and* after its hash is compared: of concurrent attempts, no more learn whether
//! the password was right than the limit allows. Without Redis there is no limit; the queue for password hashing still
//! bounds the number of attempts.

use std::net::IpAddr;
use std::time::Duration;

use redis::AsyncCommands;
use sha2::{Digest, Sha256};

use common::error::Error;
use common::id::UserId;
use engines::error::Result;
use engines::redis::Redis;

use crate::config::LimitConfig;
use crate::domain::CanonicalEmail;

#[derive(Clone)]
pub struct RateLimits {
    redis: Redis,
    config: LimitConfig,
}

/// A counter and its largest allowed value; 0 is no limit.
#[derive(Clone, Debug)]
pub struct Budget {
    key: String,
    limit: u64,
}

impl RateLimits {
    pub fn new(redis: Redis, config: LimitConfig) -> Self {
        Self { redis, config }
    }

    /// The budget for failures from an address.
    pub fn address(&self, address: Option<IpAddr>) -> Budget {
        let key = match address {
            Some(address) => self.redis.key(format_args!("rate_limit:{}", address.to_canonical())),
            None => self.redis.key(format_args!("rate_limit:unknown")),
        };
        Budget { key, limit: self.config.address_failures }
    }

    /// The budget for failures for an account, or for an e-mail address without one.
    pub fn account(&self, account: Option<UserId>, email: &CanonicalEmail) -> Budget {
        let key = match account {
            Some(user) => self.redis.key(format_args!("rate_limit:account:{user}")),
            None => {
                // The hash bounds the length of the key and hides the address.
                let digest = Sha256::digest(email.as_str().as_bytes());
                self.redis.key(format_args!("rate_limit:address:{}", hex::encode(&digest[..16])))
            }
        };
        Budget { key, limit: self.config.account_failures }
    }

    /// The budget for wrong current passwords in changes of a password. Guesses at logins do not use it up.
    pub fn password_change(&self, user: UserId) -> Budget {
        let key = self.redis.key(format_args!("rate_limit:password:{user}"));
        Budget { key, limit: self.config.password_failures }
    }

    /// The budget for registrations from an address.
    pub fn registrations(&self, address: Option<IpAddr>) -> Budget {
        let Budget { key, .. } = self.address(address);
        Budget { key: format!("{key}:register"), limit: self.config.registrations }
    }

    /// Checks that each budget allows one more attempt.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] if one of the budgets is used up.
    pub async fn check(&self, budgets: &[&Budget]) -> Result<()> {
        let mut pipe = redis::pipe();
        for budget in budgets {
            pipe.cmd("GET").arg(&budget.key).cmd("PTTL").arg(&budget.key);
        }
        self.enforce(budgets, pipe, 1).await
    }

    /// Counts one attempt against each budget.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] if one of the budgets was used up before.
    pub async fn count(&self, budgets: &[&Budget]) -> Result<()> {
        let mut pipe = redis::pipe();
        for budget in budgets {
            pipe.cmd("INCR").arg(&budget.key);
            pipe.cmd("EXPIRE").arg(&budget.key).arg(self.config.window.as_secs()).arg("NX").ignore();
            pipe.cmd("PTTL").arg(&budget.key);
        }
        self.enforce(budgets, pipe, 0).await
    }

    /// Reads the count and the rest of the window (milliseconds) of each budget. Fails if a count plus `more` exceeds
    /// its budget.
    async fn enforce(&self, budgets: &[&Budget], read: redis::Pipeline, more: i64) -> Result<()> {
        let counts: Result<Vec<(Option<i64>, i64)>, _> = read.query_async(&mut self.redis.connection()).await;
        let counts = match counts {
            Ok(counts) => counts,
            Err(e) => {
                tracing::warn!(error = %e, "rate limits are not enforced");
                return Ok(());
            }
        };
        let over = budgets.iter().zip(counts).filter(|(budget, (count, _))| budget.exceeded(count.unwrap_or(0) + more));
        let wait = over.map(|(_, (_, ttl_ms))| Duration::from_millis(ttl_ms.max(0).unsigned_abs())).max();
        wait.map_or(Ok(()), |retry_after| Err(Error::TooMany { retry_after }.into()))
    }

    /// Restores the whole budget.
    pub async fn reset(&self, budget: &Budget) {
        let deleted: Result<(), _> = self.redis.connection().del(&budget.key).await;
        if let Err(e) = deleted {
            tracing::debug!(error = %e, "a rate limit was not reset");
        }
    }
}

impl Budget {
    fn exceeded(&self, count: i64) -> bool {
        self.limit > 0 && count.unsigned_abs() > self.limit
    }
}
