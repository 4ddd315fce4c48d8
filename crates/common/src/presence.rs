//! Who is online: a key in Redis for each, kept alive by any sign of life at any service.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use moka::future::Cache;
use redis::{AsyncCommands, ExpireOption};

use crate::error::Result;
use crate::id::UserId;
use crate::redis::Redis;

/// At most one write for a user in this time, however many requests come.
const QUIET: Duration = Duration::from_secs(15);

/// Users whose last write is remembered; one entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// The keys `user:online:{id}` and the order in which they fall due, `presence:due`.
#[derive(Clone)]
pub struct Presence {
    redis: Redis,
    ttl: Duration,
    written: Cache<UserId, Arc<()>>,
}

impl Presence {
    pub fn new(redis: Redis, ttl: Duration) -> Self {
        // A quiet time as long as the key's life would let it lapse between two signs of life.
        let quiet = QUIET.min(ttl / 2);
        Self { redis, ttl, written: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(quiet).build() }
    }

    /// Notes a sign of life. The request does not wait for it.
    pub async fn touch(&self, user: UserId) {
        if self.written.get(&user).await.is_some() {
            return;
        }
        let entry = self.written.entry(user).or_insert_with(async { Arc::new(()) }).await;
        if entry.is_fresh() {
            tokio::spawn(self.clone().write_unless_cleared(user, entry.into_value()));
        }
    }

    /// A logout may come between a request and the write that it causes; then nothing is written.
    async fn write_unless_cleared(self, user: UserId, mark: Arc<()>) {
        if !self.written.get(&user).await.is_some_and(|now| Arc::ptr_eq(&now, &mark)) {
            return;
        }
        if let Err(e) = self.write(user).await {
            tracing::debug!(error = %e, "presence not written");
        }
    }

    /// Sets the key and its due time, never shortening a longer life: the original's keys live for an hour.
    pub async fn write(&self, user: UserId) -> Result<()> {
        let (key, ttl) = (self.key(user), self.ttl.as_secs() as i64);
        let due = Utc::now().timestamp_millis() + self.ttl.as_millis() as i64;
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
            .arg(due)
            .arg(user.0)
            .ignore()
            .query_async::<()>(&mut self.redis.connection())
            .await?;
        Ok(())
    }

    /// Takes a user offline at once; the next sign of life is written whenever it comes.
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

    /// Who of these is online, in their order: one round trip. Without Redis nobody is seen.
    pub async fn online(&self, users: &[UserId]) -> Vec<bool> {
        if users.is_empty() {
            return Vec::new();
        }
        let keys: Vec<String> = users.iter().map(|user| self.key(*user)).collect();
        let found: Result<Vec<Option<String>>, _> = self.redis.connection().mget(keys).await;
        match found {
            Ok(values) => values.iter().map(Option::is_some).collect(),
            Err(e) => {
                tracing::warn!(error = %e, "presence cannot be read");
                vec![false; users.len()]
            }
        }
    }

    pub fn key(&self, user: UserId) -> String {
        self.redis.key(format_args!("user:online:{user}"))
    }

    /// The sorted set of users by the time, in milliseconds since 1970, at which their key lapses.
    pub fn due_key(&self) -> String {
        self.redis.key(format_args!("presence:due"))
    }
}
