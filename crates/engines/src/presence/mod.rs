//! Presence in Redis: which users are online.
//!
//! A sign of life at any service sets the key `user:online:{id}` with a time to live and the user's entry in the sorted
//! set `presence:due`, whose score is the time, in milliseconds since 1970, at which the key expires. User-service
//! sweeps the set every one or two seconds: an entry that is due and has no key is a user who went offline.
//!
//! The sorted set `presence:sessions:{id}` has the sessions of the user with a sign of life, with the same time by the clock
//! of Redis. A logout sets the user offline only if no other session is left in it.

mod due;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use common::id::UserId;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use redis::{AsyncCommands, Script};

use crate::error::Result;
use crate::redis::Redis;

pub use due::Due;

/// The shortest time between two writes for a session, however many requests there are.
const WRITE_INTERVAL: Duration = Duration::from_secs(15);

/// Sessions whose last write is remembered. An entry takes about 150 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// The users of one command: a command with many keys blocks Redis for all its clients.
const CHUNK: usize = 1_000;

/// The sessions that one script records, in about half a millisecond of Redis's time.
const RECORDED_AT_ONCE: usize = 100;

/// Removes the entry of a user unless a sign of life has moved it.
const REMOVE_UNMOVED: &str =
    "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end";

/// Sets users online. KEYS[1] is `presence:due`; ARGV[1] is the time to live, and ARGV[2] the time of the entries in `presence:due`. Each
/// user has two more keys, that of the user and that of the sessions, and two more arguments, the user and a session that may be
/// empty. A key's life is never shortened, because the original's keys live for an hour. A session is recorded until the time to
/// live has passed, and those that have expired are dropped.
const RECORD: &str = "
    local time = redis.call('TIME')
    local now, ttl = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
    for i = 2, #KEYS, 2 do
        local online, sessions, user, session = KEYS[i], KEYS[i + 1], ARGV[i + 1], ARGV[i + 2]
        local left = redis.call('PTTL', online)
        if left == -2 then
            redis.call('SET', online, '1', 'PX', ttl)
        elseif left >= 0 and left < ttl then
            redis.call('PEXPIRE', online, ttl)
        end
        redis.call('ZADD', KEYS[1], 'GT', ARGV[2], user)
        if session ~= '' then
            redis.call('ZREMRANGEBYSCORE', sessions, '-inf', now)
            redis.call('ZADD', sessions, now + ttl, session)
            redis.call('PEXPIRE', sessions, ttl)
        end
    end";

/// Drops a session. Removes the key and the entry of the user if no other session has shown a sign of life.
const END_SESSION: &str = "
    local time = redis.call('TIME')
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
    if redis.call('ZCARD', KEYS[3]) > 0 then return 0 end
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[2])
    return 1";

/// The commands of presence. Clones share the memory of the last writes.
#[derive(Clone)]
pub struct Presence {
    redis: Redis,
    ttl: Duration,
    /// The times of the last writes.
    written: Cache<Arc<str>, Arc<Instant>>,
    /// The shortest time between two writes for a session.
    interval: Duration,
    record: Script,
    remove_unmoved: Script,
    end_session: Script,
}

impl Presence {
    /// A user is online for `ttl` after a sign of life.
    pub fn new(redis: Redis, ttl: Duration) -> Self {
        // A longer interval would let the key expire between two signs of life.
        let interval = WRITE_INTERVAL.min(ttl / 2);
        Self {
            redis,
            ttl,
            written: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(ttl / 2)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            interval,
            record: Script::new(RECORD),
            remove_unmoved: Script::new(REMOVE_UNMOVED),
            end_session: Script::new(END_SESSION),
        }
    }

    /// Records a sign of life of a session in the background, at most once in 15 s.
    pub async fn touch(&self, user: UserId, session: &Arc<str>) {
        let is_old = |written: &Arc<Instant>| written.elapsed() >= self.interval;
        let entry =
            self.written.entry_by_ref(session).or_insert_with_if(async { Arc::new(Instant::now()) }, is_old).await;
        if entry.is_fresh() {
            tokio::spawn(self.clone().write_unless_ended(user, session.clone(), entry.into_value()));
        }
    }

    /// A logout may come between a request and its write. Then nothing is written.
    async fn write_unless_ended(self, user: UserId, session: Arc<str>, mark: Arc<Instant>) {
        if !self.written.get(&session).await.is_some_and(|now| Arc::ptr_eq(&now, &mark)) {
            return;
        }
        if let Err(e) = self.write(user, Some(&session)).await {
            tracing::debug!(error = %e, "presence not written");
        }
    }

    /// Records signs of life of many sessions, in one round trip for a hundred. A session is passed over within 15 s of its last
    /// write, and if it can wait for the next call, after `next`: its last write is then not older than half of the time to live.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer. The sessions that were not written are due at the next call.
    pub async fn touch_all(
        &self,
        sessions: impl IntoIterator<Item = (UserId, Arc<str>)>,
        next: Duration,
    ) -> Result<()> {
        let due_after = self.interval.max((self.ttl / 2).saturating_sub(next));
        let mut sessions = sessions.into_iter();
        loop {
            let mut due = Vec::new();
            for (user, session) in sessions.by_ref() {
                if self.is_due(&session, due_after).await {
                    // Before the write is on its way, so that a logout that comes later is carried out later.
                    self.written.insert(session.clone(), Arc::new(Instant::now())).await;
                    due.push((user, session));
                }
                if due.len() == RECORDED_AT_ONCE {
                    break;
                }
            }
            if due.is_empty() {
                return Ok(());
            }
            if let Err(e) = self.record(due.iter().map(|(user, session)| (*user, Some(&**session)))).await {
                for (_, session) in &due {
                    self.written.invalidate(session).await;
                }
                return Err(e);
            }
        }
    }

    /// Whether the last write for a session is so old, or forgotten.
    async fn is_due(&self, session: &Arc<str>, age: Duration) -> bool {
        self.written.get(session).await.is_none_or(|written| written.elapsed() >= age)
    }

    /// Sets a user online now, by a sign of life of the session if there is one already.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn write(&self, user: UserId, session: Option<&str>) -> Result<()> {
        self.record([(user, session)]).await
    }

    async fn record<'a>(&self, users: impl IntoIterator<Item = (UserId, Option<&'a str>)>) -> Result<()> {
        let mut record = self.record.key(self.due_key());
        record.arg(self.ttl_ms()).arg(Utc::now().timestamp_millis() + self.ttl_ms());
        for (user, session) in users {
            record.key(self.key(user)).key(self.sessions_key(user));
            record.arg(user.0).arg(session.unwrap_or_default());
        }
        Ok(record.invoke_async(&mut self.redis.connection()).await?)
    }

    /// Ends a session. Sets the user offline at once, and returns true, unless another session has shown a sign of life
    /// within the time to live of a key.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn end_session(&self, user: UserId, session: &str) -> Result<bool> {
        self.written.invalidate(session).await;
        let mut end = self.end_session.key(self.key(user));
        end.key(self.due_key()).key(self.sessions_key(user)).arg(session).arg(user.0);
        Ok(end.invoke_async(&mut self.redis.connection()).await?)
    }

    /// Whether each of these users is online, in their order, in one round trip for each thousand.
    ///
    /// # Errors
    /// Returns an unavailable error if Redis does not answer.
    pub async fn try_online(&self, users: &[UserId]) -> Result<Vec<bool>> {
        let mut online = Vec::with_capacity(users.len());
        for users in users.chunks(CHUNK) {
            let keys: Vec<String> = users.iter().map(|user| self.key(*user)).collect();
            let found: Vec<Option<String>> = self.redis.connection().mget(keys).await?;
            online.extend(found.iter().map(Option::is_some));
        }
        Ok(online)
    }

    /// Whether each of these users is online, in their order. Without Redis, nobody is.
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

    fn sessions_key(&self, user: UserId) -> String {
        self.redis.key(format_args!("presence:sessions:{user}"))
    }

    fn ttl_ms(&self) -> i64 {
        self.ttl.as_millis() as i64
    }
}
