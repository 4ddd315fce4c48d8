//! Rate limits on logins, failed refreshes and registrations: counters in Redis.
//!
//! For a network, logins and refreshes count only when they fail, so many honest users behind one address never reach a
//! limit. A
//! password attempt is checked before *and* after its hash is compared: of concurrent attempts, no more learn whether
//! the password was right than the limit allows. Without Redis there is no limit; the queue for password hashing still
//! bounds the number of attempts.

use std::fmt::Arguments;
use std::time::Duration;

use redis::AsyncCommands;
use sha2::{Digest, Sha256};

use common::error::Error;
use common::id::UserId;
use engines::error::Result;
use engines::redis::Redis;

use crate::config::LimitConfig;
use crate::domain::{CanonicalEmail, Network};

/// The time in which the successful logins of an account are counted.
const LOGIN_WINDOW: Duration = Duration::from_secs(3600);

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
    /// The time from the first attempt on after which the counter starts anew.
    window: Duration,
}

/// The budgets of a login.
#[derive(Clone, Debug)]
pub struct LoginBudgets {
    /// Failures from the network, for all accounts.
    network: Budget,
    /// Failures for the account from the network.
    pub account_in_network: Budget,
    /// Failures for the account from all known networks, or from all new ones.
    account: Budget,
    /// Successful logins of the account in an hour.
    pub successes: Budget,
}

impl LoginBudgets {
    /// The budgets of failures.
    pub fn failures(&self) -> [&Budget; 3] {
        [&self.network, &self.account_in_network, &self.account]
    }
}

impl RateLimits {
    pub fn new(redis: Redis, config: LimitConfig) -> Self {
        Self { redis, config }
    }

    /// The budget for failures from a network.
    pub fn network(&self, network: Option<Network>) -> Budget {
        self.budget(format_args!("rate_limit:{}", name(network)), self.config.address_failures)
    }

    /// The budgets of a login to an account, or with an e-mail address that has none. Guesses from new networks do not
    /// use up the budget of the networks that the account knows.
    pub fn login(
        &self,
        network: Option<Network>,
        account: Option<UserId>,
        email: &CanonicalEmail,
        is_known: bool,
    ) -> LoginBudgets {
        let account = match account {
            Some(user) => user.to_string(),
            // The hash bounds the length of the key and hides the address.
            None => hex::encode(&Sha256::digest(email.as_str().as_bytes())[..16]),
        };
        let networks = if is_known { "known" } else { "new" };
        let of_account =
            |networks: &str, limit| self.budget(format_args!("rate_limit:account:{account}:{networks}"), limit);
        let successes = self.budget(format_args!("rate_limit:logins:{account}"), self.config.logins);
        LoginBudgets {
            successes: Budget { window: LOGIN_WINDOW, ..successes },
            network: self.network(network),
            account_in_network: of_account(&name(network), self.config.account_failures),
            account: of_account(networks, self.config.account_total_failures),
        }
    }

    /// The budget for wrong current passwords in changes of a password. Guesses at logins do not use it up.
    pub fn password_change(&self, user: UserId) -> Budget {
        self.budget(format_args!("rate_limit:password:{user}"), self.config.password_failures)
    }

    /// The budget for registrations from a network.
    pub fn registrations(&self, network: Option<Network>) -> Budget {
        self.budget(format_args!("rate_limit:{}:register", name(network)), self.config.registrations)
    }

    /// The budget for refreshes of a session.
    pub fn refreshes(&self, sid: &str) -> Budget {
        self.budget(format_args!("rate_limit:session:{sid}"), self.config.refreshes)
    }

    fn budget(&self, key: Arguments<'_>, limit: u64) -> Budget {
        Budget { key: self.redis.key(key), limit, window: self.config.window }
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
        // So that no count stays without an expiry.
        pipe.atomic();
        for budget in budgets {
            pipe.cmd("INCR").arg(&budget.key);
            pipe.cmd("EXPIRE").arg(&budget.key).arg(budget.window.as_secs()).arg("NX").ignore();
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

fn name(network: Option<Network>) -> String {
    network.map_or_else(|| "unknown".to_owned(), |network| network.to_string())
}
