//! The presence sweep: each second it marks users online or offline in MySQL as their keys in Redis appear and expire.
//!
//! Every service sets `user:online:{id}` at a sign of life and records in the sorted set `presence:due` when the key
//! expires. A user whose due time has passed and whose key is gone is marked offline. A user with a recent due time who
//! is marked offline is marked online. MySQL serializes the changes, so any number of replicas may sweep.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prometheus::IntGauge;
use redis::Script;
use tokio_util::sync::CancellationToken;

use common::error::Result;
use common::id::UserId;
use common::presence::Presence;
use common::redis::Redis;
use common::task::every;

use crate::store::OnlineStatus;

const PAUSE: Duration = Duration::from_secs(1);

/// The age up to which a sign of life is recent: two pauses and the difference of two clocks.
const RECENT: Duration = Duration::from_secs(3);

/// Users that one transaction marks. Their rows are locked until it ends.
const BATCH: usize = 100;

/// Users that one command or query returns.
const PAGE: u32 = 1_000;

/// A crash between two writes can leave a user marked online without a due time. Reconciling all users finds it.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

/// Removes a due time unless a sign of life has moved it.
const REMOVE_UNCHANGED: &str =
    "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end";

pub struct PresenceSweeper {
    status: OnlineStatus,
    presence: Presence,
    redis: Redis,
    ttl: Duration,
    online: IntGauge,
    reconciled_at: Option<Instant>,
    remove_unchanged: Script,
}

/// A user id and the time at which its presence key expires, in milliseconds since 1970.
type Due = (i64, i64);

impl PresenceSweeper {
    /// `ttl` is the lifetime of a presence key; `online` counts the users who are online.
    pub fn new(status: OnlineStatus, presence: Presence, redis: Redis, ttl: Duration, online: IntGauge) -> Self {
        let remove_unchanged = Script::new(REMOVE_UNCHANGED);
        Self { status, presence, redis, ttl, online, reconciled_at: None, remove_unchanged }
    }

    /// Sweeps until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "presence sweep", &stop, &mut self, Self::sweep).await;
    }

    async fn sweep(&mut self) -> Result<()> {
        if self.is_redis_new().await? || self.reconciled_at.is_none_or(|at| at.elapsed() > RECONCILE_INTERVAL) {
            self.reconcile().await?;
            self.reconciled_at = Some(Instant::now());
        }
        self.mark_online().await?;
        self.mark_offline().await?;
        self.measure().await
    }

    /// Schedules a check of every user who is marked online and has no due time. The check is one key lifetime away, so
    /// that the user can show a sign of life first.
    async fn reconcile(&self) -> Result<()> {
        let due = Utc::now().timestamp_millis() + self.ttl_ms();
        let mut after = UserId(0);
        loop {
            let page = self.status.marked_online(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            self.schedule(&page, due).await?;
        }
    }

    /// Marks users online whose last sign of life is recent.
    async fn mark_online(&self) -> Result<()> {
        for page in self.recently_seen().await?.chunks(PAGE as usize) {
            let offline = self.status.marked_offline(page).await?;
            for batch in offline.chunks(BATCH) {
                self.status.mark_online(batch).await?;
            }
        }
        Ok(())
    }

    /// Marks users offline whose keys have expired.
    async fn mark_offline(&self) -> Result<()> {
        loop {
            let due = self.due().await?;
            let expired = self.expired(&due).await?;
            for batch in expired.chunks(BATCH) {
                let last_seen: Vec<_> = batch.iter().map(|due| (UserId(due.0), self.last_seen(*due))).collect();
                self.status.mark_offline(&last_seen).await?;
                self.remove(batch).await?;
            }
            if due.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Sets a mark if Redis has none, and returns whether it did: once after each loss of all data in Redis, and once
    /// for a new Redis.
    async fn is_redis_new(&self) -> Result<bool> {
        let mut set = redis::cmd("SET");
        set.arg(self.redis.key(format_args!("presence:known"))).arg("1").arg("NX");
        let marked: Option<String> = set.query_async(&mut self.redis.connection()).await?;
        Ok(marked.is_some())
    }

    /// Sets the due time of those of these users that have none.
    async fn schedule(&self, users: &[UserId], due_ms: i64) -> Result<()> {
        let mut pipe = redis::pipe();
        for user in users {
            pipe.cmd("ZADD").arg(self.presence.due_key()).arg("NX").arg(due_ms).arg(user.0).ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    /// Users whose last sign of life is at most [`RECENT`] ago.
    async fn recently_seen(&self) -> Result<Vec<UserId>> {
        let since = Utc::now().timestamp_millis() + self.ttl_ms() - RECENT.as_millis() as i64;
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.presence.due_key()).arg(since).arg("+inf");
        let users: Vec<i64> = range.query_async(&mut self.redis.connection()).await?;
        Ok(users.into_iter().map(UserId).collect())
    }

    /// The first page of the due times that have passed.
    async fn due(&self) -> Result<Vec<Due>> {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.presence.due_key()).arg("-inf").arg(Utc::now().timestamp_millis());
        range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(PAGE);
        Ok(range.query_async(&mut self.redis.connection()).await?)
    }

    /// Those of these entries whose key is gone. An entry whose key still exists moves to the time at which the key
    /// expires: the original's keys live for an hour.
    async fn expired(&self, due: &[Due]) -> Result<Vec<Due>> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut ttls = redis::pipe();
        for (user, _) in due {
            ttls.cmd("PTTL").arg(self.presence.key(UserId(*user)));
        }
        let ttls: Vec<i64> = ttls.query_async(&mut self.redis.connection()).await?;
        let (mut expired, mut postpone, now) = (Vec::new(), redis::pipe(), Utc::now().timestamp_millis());
        let mut live = HashSet::new();
        for (due, ttl_ms) in due.iter().zip(ttls) {
            if ttl_ms <= 0 {
                expired.push(*due);
            } else if live.insert(due.0) {
                postpone.cmd("ZADD").arg(self.presence.due_key()).arg("GT").arg(now + ttl_ms).arg(due.0).ignore();
            }
        }
        if !live.is_empty() {
            postpone.query_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(expired)
    }

    async fn remove(&self, due: &[Due]) -> Result<()> {
        for (user, at) in due {
            let mut remove = self.remove_unchanged.key(self.presence.due_key());
            remove.arg(user).arg(at).invoke_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(())
    }

    /// Sets the gauge to the number of users whose due time lies ahead.
    async fn measure(&self) -> Result<()> {
        let mut count = redis::cmd("ZCOUNT");
        count.arg(self.presence.due_key()).arg(Utc::now().timestamp_millis()).arg("+inf");
        self.online.set(count.query_async(&mut self.redis.connection()).await?);
        Ok(())
    }

    /// The last sign of life: one key lifetime before the key expired.
    fn last_seen(&self, (_, at): Due) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(at - self.ttl_ms()).unwrap_or_else(Utc::now)
    }

    fn ttl_ms(&self) -> i64 {
        self.ttl.as_millis() as i64
    }
}
