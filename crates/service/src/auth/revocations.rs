//! Sessions and accounts that were revoked before their tokens expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::id::UserId;
use common::jwt::CLOCK_SKEW;
use engines::error::Result;
use engines::redis::Redis;
use moka::future::Cache;
use platform::telemetry::{self, Metrics};
use prometheus::IntGauge;
use redis::AsyncCommands;

/// How long an answer of Redis is cached. The contract gives a logout 5 s to reach all services.
const CACHE_TTL: Duration = Duration::from_secs(3);

/// The capacity of the cache. An entry takes about 100 bytes.
const MAX_CACHED: u64 = 100_000;

/// After an error Redis is not asked for this time, so that not every request waits for the timeout.
const PAUSE: Duration = Duration::from_secs(1);

/// The revoked sessions and accounts in Redis, behind a cache of 3 s. Clones share the cache.
///
/// Without Redis, the signature and expiry of a token decide alone, and the metric `auth_degraded` is 1.
#[derive(Clone)]
pub struct Revocations {
    redis: Redis,
    cached: Cache<Arc<str>, bool>,
    lookups: telemetry::Cache,
    degraded: IntGauge,
    started: Instant,
    /// Milliseconds since `started` before which Redis is not asked.
    paused_until: Arc<AtomicU64>,
}

impl Revocations {
    /// Nothing is cached, and Redis is available.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered.
    pub fn new(redis: Redis, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        Ok(Self {
            redis,
            cached: Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build(),
            lookups: metrics.cache("sessions"),
            degraded: metrics.gauge("auth_degraded", "1 while revoked sessions cannot be looked up in Redis")?,
            started: Instant::now(),
            paused_until: Arc::default(),
        })
    }

    /// Whether a session or the account of its user is revoked; false if Redis does not answer.
    pub async fn revoked(&self, session: &Arc<str>, user: UserId) -> bool {
        let cached = self.cached.entry_by_ref(session).or_insert_with(self.look_up(session, user)).await;
        self.lookups.looked_up(!cached.is_fresh());
        cached.into_value()
    }

    async fn look_up(&self, session: &str, user: UserId) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.paused_until.load(Ordering::Relaxed) {
            return false;
        }
        match self.fetch(&[(session, user)]).await {
            Ok(revoked) => {
                self.degraded.set(0);
                revoked.first().copied().unwrap_or(false)
            }
            Err(e) => {
                tracing::warn!(error = %e, "revoked sessions cannot be looked up");
                self.degraded.set(1);
                self.paused_until.store(now + PAUSE.as_millis() as u64, Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether each of these sessions is revoked, in their order, in one round trip and without the cache.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn fetch(&self, sessions: &[(&str, UserId)]) -> Result<Vec<bool>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> =
            sessions.iter().flat_map(|(session, user)| [self.session_key(session), self.user_key(*user)]).collect();
        let marks: Vec<Option<String>> = self.redis.connection().mget(keys).await?;
        Ok(marks.chunks(2).map(|pair| pair.iter().any(Option::is_some)).collect())
    }

    /// Revokes sessions in all services, in one round trip. `for_at_least` is the remaining life of their tokens.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn revoke(&self, sessions: &[String], for_at_least: Duration) -> Result<()> {
        if sessions.is_empty() {
            return Ok(());
        }
        let seconds = (for_at_least + CLOCK_SKEW).as_secs();
        let mut pipe = redis::pipe();
        for session in sessions {
            pipe.set_ex(self.session_key(session), "1", seconds).ignore();
        }
        pipe.query_async::<()>(&mut self.redis.connection()).await?;
        for session in sessions {
            self.cached.insert(session.as_str().into(), true).await;
        }
        Ok(())
    }

    /// Revokes the sessions of deactivated accounts, in one round trip. `for_at_least` is the remaining life of their
    /// tokens.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn revoke_users(&self, users: &[UserId], for_at_least: Duration) -> Result<()> {
        let seconds = (for_at_least + CLOCK_SKEW).as_secs();
        let mut pipe = redis::pipe();
        for user in users {
            pipe.set_ex(self.user_key(*user), "1", seconds).ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    /// Undoes the revocation of accounts.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn restore_users(&self, users: &[UserId]) -> Result<()> {
        let mut pipe = redis::pipe();
        for user in users {
            pipe.del(self.user_key(*user)).ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    fn session_key(&self, session: &str) -> String {
        self.redis.key(format_args!("session:revoked:{session}"))
    }

    fn user_key(&self, user: UserId) -> String {
        self.redis.key(format_args!("session:revoked:user:{user}"))
    }
}
