//! Sessions that ended before their tokens do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;
use prometheus::IntGauge;
use redis::AsyncCommands;

use super::{revoked_session, revoked_user};
use crate::error::Result;
use crate::id::UserId;
use crate::redis::Redis;
use crate::telemetry::{self, Metrics};

/// The contract gives a logout 5 s to reach all services.
const REMEMBERED: Duration = Duration::from_secs(3);

/// Sessions whose state is remembered at once; one entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// After a failure Redis is left alone so long, so that not every request waits for its timeout.
const PAUSE: Duration = Duration::from_secs(1);

/// Redis' word on ended sessions, remembered for a moment.
///
/// Without Redis, signature and expiry alone decide, and `auth_degraded` says so.
#[derive(Clone)]
pub struct Revocations {
    redis: Redis,
    known: Cache<Arc<str>, bool>,
    asked: telemetry::Cache,
    degraded: IntGauge,
    started: Instant,
    /// Milliseconds since `started` before which Redis is not asked.
    paused_until: Arc<AtomicU64>,
}

impl Revocations {
    pub fn new(redis: Redis, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        Ok(Self {
            redis,
            known: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED).build(),
            asked: metrics.cache("sessions"),
            degraded: metrics.gauge("auth_degraded", "1 while ended sessions cannot be looked up in Redis")?,
            started: Instant::now(),
            paused_until: Arc::default(),
        })
    }

    /// Whether a session has ended, or its user's account.
    pub async fn revoked(&self, session: &Arc<str>, user: UserId) -> bool {
        let known = self.known.entry_by_ref(session).or_insert_with(self.look_up(session, user)).await;
        self.asked.looked_up(!known.is_fresh());
        known.into_value()
    }

    async fn look_up(&self, session: &str, user: UserId) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.paused_until.load(Ordering::Relaxed) {
            return false;
        }
        match self.ask(&[(session, user)]).await {
            Ok(revoked) => {
                self.degraded.set(0);
                revoked.first().copied().unwrap_or(false)
            }
            Err(e) => {
                tracing::warn!(error = %e, "ended sessions cannot be looked up");
                self.degraded.set(1);
                self.paused_until.store(now + PAUSE.as_millis() as u64, Ordering::Relaxed);
                false
            }
        }
    }

    /// Which of these sessions have ended: one round trip, for open streams.
    pub async fn ask(&self, sessions: &[(&str, UserId)]) -> Result<Vec<bool>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = sessions
            .iter()
            .flat_map(|(session, user)| [revoked_session(&self.redis, session), revoked_user(&self.redis, *user)])
            .collect();
        let marks: Vec<Option<String>> = self.redis.connection().mget(keys).await?;
        Ok(marks.chunks(2).map(|pair| pair.iter().any(Option::is_some)).collect())
    }

    /// Ends a session everywhere, for as long as a token of it could still count.
    pub async fn revoke(&self, session: &str, for_at_least: Duration) -> Result<()> {
        let key = revoked_session(&self.redis, session);
        let seconds = (for_at_least + super::token::CLOCK_SKEW).as_secs();
        self.redis.connection().set_ex::<_, _, ()>(key, "1", seconds).await?;
        self.known.insert(session.into(), true).await;
        Ok(())
    }

    /// Marks an account as deactivated, for as long as a token of it could still count.
    pub async fn revoke_user(&self, user: UserId, for_at_least: Duration) -> Result<()> {
        let seconds = (for_at_least + super::token::CLOCK_SKEW).as_secs();
        Ok(self.redis.connection().set_ex(revoked_user(&self.redis, user), "1", seconds).await?)
    }

    /// Takes that mark back.
    pub async fn restore_user(&self, user: UserId) -> Result<()> {
        Ok(self.redis.connection().del(revoked_user(&self.redis, user)).await?)
    }
}
