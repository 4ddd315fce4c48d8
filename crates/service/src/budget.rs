//! Budgets of writes: how many writes of a kind a user may make in a minute or a day, over all replicas of a service.
//!
//! Redis counts the writes of each user and window. A replica takes a share of a budget from Redis at a time and spends it
//! from memory, so that a user causes at most 20 round trips in a minute. Shares that a replica took and did not spend
//! are lost for the window: with many replicas a user may be refused a few shares early, never late.
//!
//! Without Redis each replica counts alone, so that a user has one whole budget at each replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use common::error::{Error, Result};
use common::id::UserId;
use engines::redis::Redis;
use moka::future::Cache;
use platform::telemetry::Metrics;
use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::Mutex;

/// The seconds for which a budget is granted. Windows begin at multiples of it since 1970, on all replicas.
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

/// The number of shares of a budget, if it has so many writes.
const SHARES: u64 = 20;

/// The longest wait for a share. A write must not be slow because Redis is; its usual answer takes 0.2 ms.
const DEADLINE: Duration = Duration::from_millis(50);

/// After an error Redis is not asked for this time, so that not every share waits for the deadline.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of users whose shares a replica remembers for one budget. An entry takes about 400 bytes, so all take 20 MB.
/// Beyond it, users who write seldom are forgotten first; that costs a user the rest of a share.
const MAX_USERS: u64 = 50_000;

/// Makes the budgets of a service.
pub struct WriteBudgets {
    counts: Arc<Counts>,
    service: &'static str,
    refused: IntCounterVec,
}

/// The budget of one kind of write. Clones share it.
#[derive(Clone)]
pub struct WriteBudget {
    counts: Arc<Counts>,
    /// The beginning of the keys in Redis.
    prefix: Arc<str>,
    /// Seconds.
    window: u64,
    /// Writes of a user in a window; 0 is no limit.
    limit: u64,
    /// Writes that a replica takes at once.
    share: u64,
    /// The lock is held while a share is taken: concurrent writes of a user wait for one share and do not take one each.
    shares: Cache<UserId, Arc<Mutex<Share>>>,
    refused: IntCounter,
}

/// The part of a user's budget that a replica has in one window.
#[derive(Debug, Default)]
struct Share {
    window: u64,
    left: u64,
    /// The writes of all shares that were taken in the window; the limit if Redis has no more.
    taken: u64,
}

/// The counts in Redis.
struct Counts {
    redis: Redis,
    started: Instant,
    /// Milliseconds since `started` before which Redis is not asked.
    paused_until: AtomicU64,
}

impl WriteBudgets {
    /// Registers the counter of refused writes.
    ///
    /// # Errors
    /// Returns an error if the metric is already registered.
    pub fn register(redis: Redis, service: &'static str, metrics: &Metrics) -> prometheus::Result<Self> {
        let help = "Writes refused because the user's budget was used up";
        let refused = metrics.counters("write_budget_refused_total", help, &["budget"])?;
        let counts = Counts { redis, started: Instant::now(), paused_until: AtomicU64::default() };
        Ok(Self { counts: Arc::new(counts), service, refused })
    }

    /// A budget of `limit` writes of a user in a minute; 0 is no limit. `name` is unique in the service.
    pub fn per_minute(&self, name: &'static str, limit: u64) -> WriteBudget {
        self.budget(name, limit, MINUTE, (limit / SHARES).max(1))
    }

    /// Like [`per_minute`](Self::per_minute), in a day. A replica takes single writes: a lost share would be lost for the day.
    pub fn per_day(&self, name: &'static str, limit: u64) -> WriteBudget {
        self.budget(name, limit, DAY, 1)
    }

    fn budget(&self, name: &'static str, limit: u64, window: u64, share: u64) -> WriteBudget {
        WriteBudget {
            counts: self.counts.clone(),
            prefix: format!("rate_limit:write:{}:{name}", self.service).into(),
            window,
            limit,
            share,
            // The window of a user who is idle for so long has ended.
            shares: Cache::builder().max_capacity(MAX_USERS).time_to_idle(Duration::from_secs(window)).build(),
            // The series starts at zero, so that a rate includes the first refusal.
            refused: self.refused.with_label_values(&[name]),
        }
    }
}

impl WriteBudget {
    /// Counts one write of a user, before the write.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] if the budget of the current window is used up.
    pub async fn spend(&self, user: UserId) -> Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let share = match self.shares.get(&user).await {
            Some(share) => share,
            None => self.shares.get_with(user, async { Arc::default() }).await,
        };
        let mut share = share.lock().await;
        let now = Utc::now().timestamp().unsigned_abs();
        share.enter(now / self.window);
        if share.left == 0 && share.taken < self.limit {
            self.take(user, &mut share).await;
        }
        if share.left == 0 {
            self.refused.inc();
            return Err(Error::TooMany { retry_after: Duration::from_secs(self.window - now % self.window) });
        }
        share.left -= 1;
        Ok(())
    }

    /// Counts a write of a user that costs as much as several, before the write: as half of the budget at most, so that it is possible
    /// besides the single writes that belong to it.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] if the rest of the budget of the current window is smaller. It is used up then.
    pub async fn spend_many(&self, user: UserId, writes: usize) -> Result<()> {
        let most = usize::try_from((self.limit / 2).max(1)).unwrap_or(usize::MAX);
        for _ in 0..writes.min(most) {
            self.spend(user).await?;
        }
        Ok(())
    }

    /// Takes the next share. It is empty if the other replicas have taken all.
    async fn take(&self, user: UserId, share: &mut Share) {
        let size = self.share.min(self.limit - share.taken);
        let key = self.counts.redis.key(format_args!("{}:{user}:{}", self.prefix, share.window));
        let Some(sum) = self.counts.add(key, size, 2 * self.window).await else {
            share.left = size;
            share.taken += size;
            return;
        };
        share.left = size.min(self.limit.saturating_sub(sum.saturating_sub(size)));
        share.taken = if sum < self.limit { share.taken + size } else { self.limit };
    }
}

impl Share {
    /// Begins the share of a window anew if it is another one. A clock that was set back has begun another one, too.
    fn enter(&mut self, window: u64) {
        if self.window != window {
            *self = Self { window, left: 0, taken: 0 };
        }
    }
}

impl Counts {
    /// Adds to a count that lives for so many seconds, and returns the sum; none if Redis does not answer in time.
    async fn add(&self, key: String, writes: u64, lifetime: u64) -> Option<u64> {
        let now = self.started.elapsed();
        if (now.as_millis() as u64) < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut pipe = redis::pipe();
        // Atomic, so that no count stays without an expiry. A clock may lag behind the others by a window.
        pipe.atomic().incr(&key, writes).expire(&key, lifetime as i64).ignore();
        let mut connection = self.redis.connection();
        match tokio::time::timeout(DEADLINE, pipe.query_async::<(u64,)>(&mut connection)).await {
            Ok(Ok((sum,))) => return Some(sum),
            Ok(Err(error)) => tracing::warn!(%error, "this replica counts writes alone"),
            Err(_) => tracing::warn!("Redis is too slow, this replica counts writes alone"),
        }
        self.paused_until.store((now + DEADLINE + PAUSE).as_millis() as u64, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use platform::config::TlsFiles;
    use tokio::net::TcpListener;

    /// A budget with a Redis at this address.
    fn budget(redis: &str, limit: u64) -> WriteBudget {
        let metrics = Metrics::new("test", "1").unwrap();
        let redis = Redis::new(&format!("redis://{redis}").into(), &TlsFiles::default(), "", &metrics).unwrap();
        WriteBudgets::register(redis, "test", &metrics).unwrap().per_minute("messages", limit)
    }

    /// A budget without Redis: nothing listens at the address.
    fn alone(limit: u64) -> WriteBudget {
        budget("127.0.0.1:1", limit)
    }

    /// The number of accepted ones among so many concurrent writes.
    async fn accepted(budget: &WriteBudget, user: i64, writes: usize) -> usize {
        let writes = join_all((0..writes).map(|_| budget.spend(UserId(user)))).await;
        writes.into_iter().filter(Result::is_ok).count()
    }

    #[tokio::test]
    async fn without_redis_a_replica_grants_each_user_the_budget() {
        for limit in [1, 7, 50] {
            let budget = alone(limit);
            let limit = limit as usize;
            for user in [1, 2] {
                // The writes of a user may fall into two windows.
                let accepted = accepted(&budget, user, 10 * limit).await;
                assert!((limit..=2 * limit).contains(&accepted), "{accepted} of {limit}");
            }
        }
    }

    #[tokio::test]
    async fn the_refusal_says_how_long_the_minute_lasts_and_is_counted() {
        let budget = alone(1);
        let refusal = loop {
            if let Err(refusal) = budget.spend(UserId(1)).await {
                break refusal;
            }
        };
        let Error::TooMany { retry_after } = refusal else { panic!("{refusal}") };
        assert!((1..=60).contains(&retry_after.as_secs()), "{retry_after:?}");
        assert_eq!(budget.refused.get(), 1);
    }

    #[tokio::test]
    async fn a_limit_of_0_is_no_limit() {
        assert_eq!(accepted(&alone(0), 1, 1_000).await, 1_000);
    }

    #[tokio::test]
    async fn a_redis_that_never_answers_delays_one_share_and_not_each() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let budget = budget(&silent.local_addr().unwrap().to_string(), 1_000);
        let started = Instant::now();
        // All shares of 20 users.
        for user in 0..20 {
            assert!(accepted(&budget, user, 1_000).await >= 1_000);
        }
        let waits = 1 + started.elapsed().as_millis() / PAUSE.as_millis();
        assert!(started.elapsed() < 20 * DEADLINE * waits as u32, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_write_whose_client_went_away_does_not_lock_the_user_out() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let budget = budget(&silent.local_addr().unwrap().to_string(), 10);
        let left = tokio::time::timeout(DEADLINE / 10, budget.spend(UserId(1))).await;
        assert!(left.is_err(), "the write waits for Redis");
        assert!(budget.spend(UserId(1)).await.is_ok());
    }

    #[test]
    fn a_share_ends_with_its_window_also_if_the_clock_is_set_back() {
        let mut share = Share { window: 7, left: 3, taken: 30 };
        share.enter(7);
        assert_eq!((share.left, share.taken), (3, 30));
        for window in [8, 5] {
            share = Share { left: 3, taken: 30, ..share };
            share.enter(window);
            assert_eq!((share.window, share.left, share.taken), (window, 0, 0));
        }
    }

    #[tokio::test]
    async fn many_users_who_write_once_do_not_displace_one_who_keeps_writing() {
        let (budget, writer) = (alone(1_000), UserId(-1));
        budget.spend(writer).await.unwrap();
        let share = budget.shares.get(&writer).await.unwrap();
        for user in 0..MAX_USERS as i64 * 5 / 4 {
            budget.spend(UserId(user)).await.unwrap();
            if user % 1_000 == 0 {
                budget.spend(writer).await.unwrap();
            }
        }
        budget.shares.run_pending_tasks().await;
        assert!(budget.shares.entry_count() <= MAX_USERS);
        assert!(Arc::ptr_eq(&share, &budget.shares.get(&writer).await.unwrap()));
    }
}
