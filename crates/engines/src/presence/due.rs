//! The sorted set of the times at which keys expire.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::id::UserId;

use super::Presence;
use crate::error::Result;

/// An entry of the set: a user and the time, in milliseconds since 1970, at which the user's key expires or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The user.
    pub user: UserId,
    /// The score of the entry.
    pub at_ms: i64,
}

impl Presence {
    /// Whether Redis has no data of presence: true once after it lost all data, and once before it ever had any.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn is_redis_new(&self) -> Result<bool> {
        let mut mark = redis::cmd("SET");
        mark.arg(self.redis.key(format_args!("presence:known"))).arg("1").arg("NX");
        let set: Option<String> = mark.query_async(&mut self.redis.connection()).await?;
        Ok(set.is_some())
    }

    /// Adds entries for users without one, which are due after the time to live of a key.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn expect_signs_of_life(&self, users: &[UserId]) -> Result<()> {
        let due = Utc::now().timestamp_millis() + self.ttl_ms();
        let mut pipe = redis::pipe();
        for user in users {
            pipe.cmd("ZADD").arg(self.due_key()).arg("NX").arg(due).arg(user.0).ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    /// The users with a sign of life in the last `period`.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn seen_within(&self, period: Duration) -> Result<Vec<UserId>> {
        let since = Utc::now().timestamp_millis() + self.ttl_ms() - period.as_millis() as i64;
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.due_key()).arg(since).arg("+inf");
        let users: Vec<i64> = range.query_async(&mut self.redis.connection()).await?;
        Ok(users.into_iter().map(UserId).collect())
    }

    /// The entries that are due now, at most `limit`, the oldest first.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn due(&self, limit: usize) -> Result<Vec<Due>> {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.due_key()).arg("-inf").arg(Utc::now().timestamp_millis());
        range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
        let entries: Vec<(i64, i64)> = range.query_async(&mut self.redis.connection()).await?;
        Ok(entries.into_iter().map(|(user, at_ms)| Due { user: UserId(user), at_ms }).collect())
    }

    /// The due entries of users without a key. The others are moved to the expiry of their key, because the original's
    /// keys live for an hour.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn expired(&self, due: &[Due]) -> Result<Vec<Due>> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut lives = redis::pipe();
        for entry in due {
            lives.cmd("PTTL").arg(self.key(entry.user));
        }
        let lives: Vec<i64> = lives.query_async(&mut self.redis.connection()).await?;
        let (mut expired, mut moves, now) = (Vec::new(), redis::pipe(), Utc::now().timestamp_millis());
        let mut alive = HashSet::new();
        for (entry, life) in due.iter().zip(lives) {
            if life <= 0 {
                expired.push(*entry);
            } else if alive.insert(entry.user) {
                moves.cmd("ZADD").arg(self.due_key()).arg("GT").arg(now + life).arg(entry.user.0).ignore();
            }
        }
        if !alive.is_empty() {
            moves.query_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(expired)
    }

    /// Removes entries, except those that a sign of life has moved.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn remove(&self, due: &[Due]) -> Result<()> {
        for entry in due {
            let mut remove = self.remove_unmoved.key(self.due_key());
            remove.arg(entry.user.0).arg(entry.at_ms).invoke_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(())
    }

    /// The number of users who are online.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn count_online(&self) -> Result<i64> {
        let mut count = redis::cmd("ZCOUNT");
        count.arg(self.due_key()).arg(Utc::now().timestamp_millis()).arg("+inf");
        Ok(count.query_async(&mut self.redis.connection()).await?)
    }

    /// The user's last sign of life: the time to live of a key before the expiry.
    pub fn last_seen(&self, due: Due) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(due.at_ms - self.ttl_ms()).unwrap_or_else(Utc::now)
    }
}
