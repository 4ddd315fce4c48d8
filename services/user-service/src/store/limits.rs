//! How often an address or an account may fail in one window of time: counters in Redis.
//!
//! Only failures count, so honest crowds behind one address never meet a limit. An attempt is looked at before *and*
//! after its password was checked: of many made at once, no more are told right or wrong than the limit allows.
//! Without Redis there is no limit; the hashing queue still bounds the guesses.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use common::error::{Error, Result};
use common::redis::Redis;

use crate::config::LimitConfig;

#[derive(Clone)]
pub struct Limits {
    redis: Redis,
    config: LimitConfig,
}

/// What is counted, and up to where.
#[derive(Clone, Debug)]
pub struct Budget {
    key: String,
    limit: u64,
}

impl Limits {
    pub fn new(redis: Redis, config: LimitConfig) -> Self {
        Self { redis, config }
    }

    /// Failures from an address.
    pub fn address(&self, address: Option<IpAddr>) -> Budget {
        let key = match address {
            Some(address) => self.redis.key(format_args!("rate_limit:{}", address.to_canonical())),
            None => self.redis.key(format_args!("rate_limit:unknown")),
        };
        Budget { key, limit: self.config.address_failures }
    }

    /// Failures for an account, known or not.
    pub fn account(&self, email: &str) -> Budget {
        // Hashed: a key of bounded length that shows nobody's address.
        let digest = Sha256::digest(email.to_lowercase().as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Budget { key: self.redis.key(format_args!("rate_limit:account:{name}")), limit: self.config.account_failures }
    }

    /// Registrations from an address.
    pub fn registrations(&self, address: Option<IpAddr>) -> Budget {
        let Budget { key, .. } = self.address(address);
        Budget { key: format!("{key}:register"), limit: self.config.registrations }
    }

    /// Refuses when one of the budgets is used up.
    pub async fn check(&self, budgets: &[&Budget]) -> Result<()> {
        let mut pipe = redis::pipe();
        for budget in budgets {
            pipe.cmd("GET").arg(&budget.key).cmd("PTTL").arg(&budget.key);
        }
        // The next one would be one more than was counted.
        self.within(budgets, pipe, 1).await
    }

    /// Takes one from each budget. Refuses when one of them was used up already.
    pub async fn count(&self, budgets: &[&Budget]) -> Result<()> {
        let mut pipe = redis::pipe();
        for budget in budgets {
            pipe.cmd("INCR").arg(&budget.key);
            pipe.cmd("EXPIRE").arg(&budget.key).arg(self.config.window.as_secs()).arg("NX").ignore();
            pipe.cmd("PTTL").arg(&budget.key);
        }
        self.within(budgets, pipe, 0).await
    }

    /// Asks for the count and the rest of the window of each budget, and whether `more` still fit.
    async fn within(&self, budgets: &[&Budget], ask: redis::Pipeline, more: i64) -> Result<()> {
        let answers: Result<Vec<(Option<i64>, i64)>, _> = ask.query_async(&mut self.redis.connection()).await;
        let counts = match answers {
            Ok(counts) => counts,
            Err(e) => {
                tracing::warn!(error = %e, "failures cannot be counted");
                return Ok(());
            }
        };
        let over = budgets.iter().zip(counts).filter(|(budget, (count, _))| budget.exceeded(count.unwrap_or(0) + more));
        let wait = over.map(|(_, (_, ttl_ms))| Duration::from_millis(ttl_ms.max(0).unsigned_abs())).max();
        wait.map_or(Ok(()), |retry_after| Err(Error::TooMany { retry_after }))
    }

    /// Gives a budget back whole.
    pub async fn forgive(&self, budget: &Budget) {
        let deleted = redis::AsyncCommands::del(&mut self.redis.connection(), &budget.key).await;
        if let Err::<(), _>(e) = deleted {
            tracing::debug!(error = %e, "failures stay counted");
        }
    }
}

impl Budget {
    fn exceeded(&self, count: i64) -> bool {
        self.limit > 0 && count.unsigned_abs() > self.limit
    }
}
