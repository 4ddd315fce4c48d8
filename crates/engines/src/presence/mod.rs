//! Presence in Redis: which users are online.
//!
//! A sign of life at any service sets the key `user:online:{id}` with a time to live and the user's entry in the sorted
//! set `presence:due`, whose score is the time, in milliseconds since 1970, at which the key expires. User-service
//! sweeps the set each second: an entry that is due and has no key is a user who went offline.

mod due;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use common::id::UserId;
use moka::future::Cache;
use redis::{AsyncCommands, ExpireOption, Script};

use crate::error::Result;
use crate::redis::Redis;

pub use due::Due;

/// The shortest time between two writes for a user, however many requests there are.
const WRITE_INTERVAL: Duration = Duration::from_secs(15);

/// Users whose last write is remembered. An entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// Removes the entry of a user unless a sign of life has moved it.
const REMOVE_UNMOVED: &str =
    "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end";

/// The commands of presence. Clones share the memory of the last writes.
#[derive(Clone)]
pub struct Presence {
    redis: Redis,
    ttl: Duration,
    written: Cache<UserId, Arc<()>>,
    remove_unmoved: Script,
}

impl Presence {
    /// A user is online for `ttl` after a sign of life.
    pub fn new(redis: Redis, ttl: Duration) -> Self {
        // A longer interval would let the key expire between two signs of life.
        let interval = WRITE_INTERVAL.min(ttl / 2);
        Self {
            redis,
            ttl,
            written: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(interval).build(),
            remove_unmoved: Script::new(REMOVE_UNMOVED),
        }
    }

    /// Records a sign of life in the background, at most once in 15 s.
    pub async fn touch(&self, user: UserId) {
        if self.written.get(&user).await.is_some() {
            return;
        }
        let entry = self.written.entry(user).or_insert_with(async { Arc::new(()) }).await;
        if entry.is_fresh() {
            tokio::spawn(self.clone().write_unless_cleared(user, entry.into_value()));
        }
    }

    /// A logout may come between a request and its write. Then nothing is written.
    async fn write_unless_cleared(self, user: UserId, mark: Arc<()>) {
        if !self.written.get(&user).await.is_some_and(|now| Arc::ptr_eq(&now, &mark)) {
            return;
        }
        if let Err(e) = self.write(user).await {
            tracing::debug!(error = %e, "presence not written");
        }
    }

    /// Sets a user online now. The key's life is never shortened, because the original's keys live for an hour.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn write(&self, user: UserId) -> Result<()> {
        let (key, ttl) = (self.key(user), self.ttl.as_secs() as i64);
        redis::pipe()
            .cmd("SET")
            .arg(&key)
            .arg("1")
            .arg("EX")
            .arg(ttl)
            .arg("NX")
            .ignore()
            .expire(&key, ttl)
            .arg(ExpireOption::GT)
            .ignore()
            .cmd("ZADD")
            .arg(self.due_key())
            .arg("GT")
            .arg(Utc::now().timestamp_millis() + self.ttl_ms())
            .arg(user.0)
            .ignore()
            .query_async::<()>(&mut self.redis.connection())
            .await?;
        Ok(())
    }

    /// Sets a user offline at once. The next sign of life is written whenever it comes.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn clear(&self, user: UserId) -> Result<()> {
        self.written.invalidate(&user).await;
        redis::pipe()
            .del(self.key(user))
            .ignore()
            .zrem(self.due_key(), user.0)
            .ignore()
            .query_async::<()>(&mut self.redis.connection())
            .await?;
        Ok(())
    }

    /// Whether each of these users is online, in their order, in one round trip.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn try_online(&self, users: &[UserId]) -> Result<Vec<bool>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = users.iter().map(|user| self.key(*user)).collect();
        let found: Vec<Option<String>> = self.redis.connection().mget(keys).await?;
        Ok(found.iter().map(Option::is_some).collect())
    }

    /// Whether each of these users is online, in their order, in one round trip. Without Redis, nobody is.
    pub async fn online(&self, users: &[UserId]) -> Vec<bool> {
        self.try_online(users).await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "presence cannot be read");
            vec![false; users.len()]
        })
    }

    /// The key of a user. A caller reads it together with keys of its own in one round trip.
    pub fn key(&self, user: UserId) -> String {
        self.redis.key(format_args!("user:online:{user}"))
    }

    fn due_key(&self) -> String {
        self.redis.key(format_args!("presence:due"))
    }

    fn ttl_ms(&self) -> i64 {
        self.ttl.as_millis() as i64
    }
}
