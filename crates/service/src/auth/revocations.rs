//! Sessions and accounts that were revoked before their tokens expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::error::Error as CommonError;
use common::id::UserId;
use common::jwt::CLOCK_SKEW;
use engines::error::Result;
use engines::redis::Redis;
use futures_util::future::BoxFuture;
use moka::future::Cache;
use platform::telemetry::{self, Metrics};
use prometheus::IntGauge;
use redis::{AsyncCommands, Expiry};
use uuid::Uuid;

/// How long an answer of Redis is cached. The contract gives a logout 5 s to reach all services.
const CACHE_TTL: Duration = Duration::from_secs(3);

/// The capacity of the cache. An entry takes about 100 bytes.
const MAX_CACHED: u64 = 100_000;

/// After an error Redis is not asked for this time, so that not every request waits for the timeout.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a request waits for user-service to copy the revocations again. It begins within a second.
const MAX_WAIT_FOR_COPY: Duration = Duration::from_secs(3);

const WAIT_INTERVAL: Duration = Duration::from_millis(100);

/// user-service renews the mark every second. While it is unavailable for longer, the other services ask Redis without the
/// mark. Redis with `volatile-ttl` evicts keys in the order of their expiry, so it evicts the mark before revocations that
/// are needed for longer.
const MARK_SECONDS: u64 = 600;

/// A copy that takes longer is begun again.
const COPY_SECONDS: u64 = 3600;

/// A revocation stays in Redis for so long after the expiry of the tokens: clocks differ, and a token may be signed a moment
/// after its session was stored.
const MARGIN: Duration = Duration::from_secs(2 * CLOCK_SKEW.as_secs());

/// The sessions that one round trip reads or writes: a command with many keys blocks Redis for all its clients.
const CHUNK: usize = 1_000;

/// Looks up in MySQL whether a session or the account of its user is revoked.
pub type RevocationSource = Arc<dyn Fn(Arc<str>, UserId) -> BoxFuture<'static, Result<bool>> + Send + Sync>;

/// The revoked sessions and accounts in Redis, behind a cache of 3 s. Clones share the cache.
///
/// user-service copies them from MySQL, and marks the copy when it is complete. If the mark is missing, Redis has lost the
/// copy: then user-service asks MySQL, and the other services wait until the copy is complete again.
///
/// Without Redis, user-service asks MySQL too. In the other services the signature and expiry of a token decide alone,
/// and the metric `auth_degraded` is 1.
#[derive(Clone)]
pub struct Revocations {
    redis: Redis,
    source: Option<RevocationSource>,
    cached: Cache<Arc<str>, bool>,
    lookups: telemetry::Cache,
    degraded: IntGauge,
    started: Instant,
    /// Milliseconds since `started` before which Redis is not asked.
    paused_until: Arc<AtomicU64>,
    /// The mark was there. A service that never saw it may run beside an original user-service, which sets none.
    marked: Arc<AtomicBool>,
}

impl Revocations {
    /// Nothing is cached, and Redis is available.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered.
    pub fn new(redis: Redis, source: Option<RevocationSource>, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        Ok(Self {
            redis,
            source,
            cached: Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build(),
            lookups: metrics.cache("sessions"),
            degraded: metrics.gauge("auth_degraded", "1 while revoked sessions cannot be looked up in Redis")?,
            started: Instant::now(),
            paused_until: Arc::default(),
            marked: Arc::default(),
        })
    }

    /// Whether a session or the account of its user is revoked; false if no store answers.
    pub async fn revoked(&self, session: &Arc<str>, user: UserId) -> bool {
        let cached = self.cached.entry_by_ref(session).or_insert_with(self.look_up(session, user)).await;
        self.lookups.looked_up(!cached.is_fresh());
        cached.into_value()
    }

    async fn look_up(&self, session: &Arc<str>, user: UserId) -> bool {
        let found = match self.ask_redis(session, user).await {
            Some(found) => Some(found),
            None => self.ask_source(session, user).await,
        };
        found.unwrap_or(false)
    }

    /// None if Redis does not answer or has lost the copy.
    async fn ask_redis(&self, session: &str, user: UserId) -> Option<bool> {
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        let found = match self.read(&[(session, user)]).await {
            Ok(None) if self.source.is_none() => self.wait_for_copy(session, user).await,
            found => found,
        };
        match found {
            Ok(found) => {
                self.degraded.set(0);
                found.and_then(|revoked| revoked.first().copied())
            }
            Err(e) => {
                tracing::warn!(error = %e, "revoked sessions cannot be looked up in Redis");
                self.degraded.set(1);
                self.paused_until.store(now + PAUSE.as_millis() as u64, Ordering::Relaxed);
                None
            }
        }
    }

    /// None without a source, or if it does not answer.
    async fn ask_source(&self, session: &Arc<str>, user: UserId) -> Option<bool> {
        let source = self.source.as_ref()?;
        let found = source(session.clone(), user).await;
        found.inspect_err(|e| tracing::warn!(error = %e, "revoked sessions cannot be looked up in MySQL")).ok()
    }

    /// Reads again until the copy is complete. After [`MAX_WAIT_FOR_COPY`] no user-service seems to run: then what Redis has
    /// decides, and later requests do not wait.
    async fn wait_for_copy(&self, session: &str, user: UserId) -> Result<Option<Vec<bool>>> {
        let started = Instant::now();
        while started.elapsed() < MAX_WAIT_FOR_COPY {
            tokio::time::sleep(WAIT_INTERVAL).await;
            let found = self.read(&[(session, user)]).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.marked.store(false, Ordering::Relaxed);
        self.read(&[(session, user)]).await
    }

    /// Whether each of these sessions is revoked, in their order, in one round trip for each thousand and without the cache.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer or has lost the copy.
    pub async fn fetch(&self, sessions: &[(&str, UserId)]) -> Result<Vec<bool>> {
        let mut revoked = Vec::with_capacity(sessions.len());
        for sessions in sessions.chunks(CHUNK) {
            revoked.extend(self.read(sessions).await?.ok_or_else(copy_lost)?);
        }
        Ok(revoked)
    }

    /// None if Redis has lost the copy.
    async fn read(&self, sessions: &[(&str, UserId)]) -> Result<Option<Vec<bool>>> {
        let keys = sessions.iter().flat_map(|(session, user)| [self.session_key(session), self.user_key(*user)]);
        let keys: Vec<String> = std::iter::once(self.mark_key()).chain(keys).collect();
        let values: Vec<Option<String>> = self.redis.connection().mget(keys).await?;
        let (mark, marks) = values.split_first().ok_or_else(copy_lost)?;
        if mark.is_some() {
            self.marked.store(true, Ordering::Relaxed);
        } else if self.source.is_some() || self.marked.load(Ordering::Relaxed) {
            return Ok(None);
        }
        Ok(Some(marks.chunks(2).map(|pair| pair.iter().any(Option::is_some)).collect()))
    }

    /// Revokes sessions in all services, in one round trip for each thousand, each for the remaining life of its tokens.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn revoke(&self, sessions: &[(String, Duration)]) -> Result<()> {
        for sessions in sessions.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            for (session, for_at_least) in sessions {
                pipe.set_ex(self.session_key(session), "1", (*for_at_least + MARGIN).as_secs()).ignore();
            }
            pipe.query_async::<()>(&mut self.redis.connection()).await?;
            for (session, _) in sessions {
                self.cached.insert(session.as_str().into(), true).await;
            }
        }
        Ok(())
    }

    /// Revokes the sessions of deactivated accounts, in one round trip. `for_at_least` is the remaining life of their
    /// tokens.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn revoke_users(&self, users: &[UserId], for_at_least: Duration) -> Result<()> {
        let seconds = (for_at_least + MARGIN).as_secs();
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

    /// Whether this run of Redis has a complete copy, whose mark is renewed then. A restart or a failover may have lost the
    /// newest revocations, so a copy does not survive them.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn is_copied(&self) -> Result<bool> {
        let renewed = Expiry::EX(MARK_SECONDS);
        let mark: Option<String> = self.redis.connection().get_ex(self.mark_key(), renewed).await?;
        Ok(mark.is_some() && mark == Some(self.redis.run_id().await?))
    }

    /// Begins a copy of all revocations.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn begin_copy(&self) -> Result<Copying> {
        let run = self.redis.run_id().await?;
        let key = self.redis.key(format_args!("session:copying:{}", Uuid::new_v4()));
        self.redis.connection().set_ex::<_, _, ()>(&key, run, COPY_SECONDS).await?;
        Ok(Copying { key })
    }

    /// Marks a copy as complete.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer, or lost its data since the copy began.
    pub async fn finish_copy(&self, copy: Copying) -> Result<()> {
        Ok(self.redis.connection().rename(copy.key, self.mark_key()).await?)
    }

    fn mark_key(&self) -> String {
        self.redis.key(format_args!("session:known"))
    }

    fn session_key(&self, session: &str) -> String {
        self.redis.key(format_args!("session:revoked:{session}"))
    }

    fn user_key(&self, user: UserId) -> String {
        self.redis.key(format_args!("session:revoked:user:{user}"))
    }
}

/// A copy that has begun. Its key vanishes with the data that was copied, so that only a whole copy becomes the mark.
pub struct Copying {
    key: String,
}

fn copy_lost() -> CommonError {
    CommonError::unavailable("redis", "the revocations are being copied again")
}
