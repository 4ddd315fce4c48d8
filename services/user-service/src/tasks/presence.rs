//! Presence becomes events here: each second the differences between Redis' keys and what was last told.
//!
//! Every service sets `user:online:{id}` and the time at which it lapses in `presence:due`. Whoever is due and has no
//! key is offline; whoever has just shown a sign of life and was told offline is online. MySQL decides that each change
//! is told once, so any number of replicas may sweep.

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

use crate::store::Status;

const PAUSE: Duration = Duration::from_secs(1);

/// Signs of life are looked for this far back: two pauses and the difference of two clocks.
const FRESH: Duration = Duration::from_secs(3);

/// People in one transaction. Their rows are locked for its length.
const BATCH: usize = 100;

/// People looked at in one step.
const PAGE: u32 = 1_000;

/// Even with Redis whole, a crash between two writes can leave someone online for ever; so all are looked at at times.
const RECONCILE: Duration = Duration::from_secs(60);

/// Takes a due entry away unless a sign of life has moved it meanwhile.
const REMOVE: &str =
    "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end";

pub struct Sweeper {
    status: Status,
    presence: Presence,
    redis: Redis,
    ttl: Duration,
    online: IntGauge,
    reconciled: Option<Instant>,
    remove: Script,
}

/// Someone whose key lapses, or has lapsed, at this time (milliseconds since 1970).
type Due = (i64, i64);

impl Sweeper {
    pub fn new(status: Status, presence: Presence, redis: Redis, ttl: Duration, online: IntGauge) -> Self {
        Self { status, presence, redis, ttl, online, reconciled: None, remove: Script::new(REMOVE) }
    }

    /// Sweeps until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "presence sweep", &stop, &mut self, Self::sweep).await;
    }

    async fn sweep(&mut self) -> Result<()> {
        if self.is_redis_new().await? || self.reconciled.is_none_or(|at| at.elapsed() > RECONCILE) {
            self.reconcile().await?;
            self.reconciled = Some(Instant::now());
        }
        self.raise_the_fresh().await?;
        self.lapse_the_due().await?;
        self.count().await
    }

    /// True once after Redis lost everything, and before it ever had anything.
    async fn is_redis_new(&self) -> Result<bool> {
        let mut mark = redis::cmd("SET");
        mark.arg(self.redis.key(format_args!("presence:known"))).arg("1").arg("NX");
        let set: Option<String> = mark.query_async(&mut self.redis.connection()).await?;
        Ok(set.is_some())
    }

    /// Gives everyone who was told online, and of whom Redis knows nothing, the time of a key to show a sign of life.
    async fn reconcile(&self) -> Result<()> {
        let due = Utc::now().timestamp_millis() + self.ttl_ms();
        let mut after = UserId(0);
        loop {
            let page = self.status.told_online(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            let mut pipe = redis::pipe();
            for user in &page {
                pipe.cmd("ZADD").arg(self.presence.due_key()).arg("NX").arg(due).arg(user.0).ignore();
            }
            pipe.query_async::<()>(&mut self.redis.connection()).await?;
        }
    }

    async fn raise_the_fresh(&self) -> Result<()> {
        let since = Utc::now().timestamp_millis() + self.ttl_ms() - FRESH.as_millis() as i64;
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.presence.due_key()).arg(since).arg("+inf");
        let fresh: Vec<i64> = range.query_async(&mut self.redis.connection()).await?;
        let fresh: Vec<UserId> = fresh.into_iter().map(UserId).collect();
        for page in fresh.chunks(PAGE as usize) {
            let told_offline = self.status.told_offline(page).await?;
            for batch in told_offline.chunks(BATCH) {
                self.status.rise(batch).await?;
            }
        }
        Ok(())
    }

    async fn lapse_the_due(&self) -> Result<()> {
        loop {
            let due = self.due().await?;
            let lapsed = self.without_those_who_live(&due).await?;
            for batch in lapsed.chunks(BATCH) {
                let seen: Vec<_> = batch.iter().map(|due| (UserId(due.0), self.seen(*due))).collect();
                self.status.lapse(&seen).await?;
                self.remove(batch).await?;
            }
            if due.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    async fn due(&self) -> Result<Vec<Due>> {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.presence.due_key()).arg("-inf").arg(Utc::now().timestamp_millis());
        range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(PAGE);
        Ok(range.query_async(&mut self.redis.connection()).await?)
    }

    /// Who still has a key is due when it lapses: the original's keys live for an hour.
    async fn without_those_who_live(&self, due: &[Due]) -> Result<Vec<Due>> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut lives = redis::pipe();
        for (user, _) in due {
            lives.cmd("PTTL").arg(self.presence.key(UserId(*user)));
        }
        let lives: Vec<i64> = lives.query_async(&mut self.redis.connection()).await?;
        let (mut lapsed, mut later, now) = (Vec::new(), redis::pipe(), Utc::now().timestamp_millis());
        let mut alive = HashSet::new();
        for (due, life) in due.iter().zip(lives) {
            if life <= 0 {
                lapsed.push(*due);
            } else if alive.insert(due.0) {
                later.cmd("ZADD").arg(self.presence.due_key()).arg("GT").arg(now + life).arg(due.0).ignore();
            }
        }
        if !alive.is_empty() {
            later.query_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(lapsed)
    }

    async fn remove(&self, due: &[Due]) -> Result<()> {
        for (user, at) in due {
            let mut remove = self.remove.key(self.presence.due_key());
            remove.arg(user).arg(at).invoke_async::<()>(&mut self.redis.connection()).await?;
        }
        Ok(())
    }

    async fn count(&self) -> Result<()> {
        let mut count = redis::cmd("ZCOUNT");
        count.arg(self.presence.due_key()).arg(Utc::now().timestamp_millis()).arg("+inf");
        self.online.set(count.query_async(&mut self.redis.connection()).await?);
        Ok(())
    }

    /// The last sign of life: a key's life before it lapsed.
    fn seen(&self, (_, at): Due) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(at - self.ttl_ms()).unwrap_or_else(Utc::now)
    }

    fn ttl_ms(&self) -> i64 {
        self.ttl.as_millis() as i64
    }
}
