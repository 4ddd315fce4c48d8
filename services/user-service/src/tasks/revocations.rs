//! Redis' word on ended sessions follows MySQL's, which is the truth.
//!
//! A logout writes both. What Redis missed, or lost as a whole, is written here again within a second or two; so is
//! what an operator does in MySQL alone: deactivating an account.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;

use common::auth::Revocations;
use common::error::Result;
use common::id::UserId;
use common::redis::Redis;
use common::task::every;

use crate::store::{Accounts, Directory, Profiles, Sessions};

const PAUSE: Duration = Duration::from_secs(1);

/// Commits become visible a little after the time that they carry.
const OVERLAP: Duration = Duration::from_secs(10);

/// A token still counts for a moment after its expiry, and clocks differ.
const SKEW: Duration = Duration::from_secs(60);

/// Writes on their way to Redis at once.
const BATCH: usize = 100;

const PRUNE: Duration = Duration::from_secs(3600);

pub struct Keeper {
    accounts: Accounts,
    sessions: Sessions,
    directory: Directory,
    profiles: Profiles,
    revocations: Revocations,
    redis: Redis,
    /// How long an ended session must be told: the life of an access token.
    lifetime: Duration,
    /// What ended before has been written; nothing yet where it is empty.
    written_until: Option<DateTime<Utc>>,
    deactivated: HashSet<UserId>,
    /// When all the deactivated were written.
    deactivated_at: Instant,
    pruned_at: Option<Instant>,
}

impl Keeper {
    pub fn new(
        accounts: Accounts,
        sessions: Sessions,
        directory: Directory,
        profiles: Profiles,
        revocations: Revocations,
        redis: Redis,
        lifetime: Duration,
    ) -> Self {
        let (written_until, deactivated, deactivated_at, pruned_at) = (None, HashSet::new(), Instant::now(), None);
        Self {
            accounts,
            sessions,
            directory,
            profiles,
            revocations,
            redis,
            lifetime,
            written_until,
            deactivated,
            deactivated_at,
            pruned_at,
        }
    }

    /// Keeps Redis up to date until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "revocations", &stop, &mut self, Self::keep).await;
    }

    async fn keep(&mut self) -> Result<()> {
        if self.is_redis_new().await? || self.deactivated_at.elapsed() > self.lifetime / 2 {
            self.written_until = None;
            self.deactivated.clear();
            self.deactivated_at = Instant::now();
        }
        self.write_ended().await?;
        self.write_deactivated().await?;
        self.mark_redis().await?;
        self.prune().await
    }

    async fn write_ended(&mut self) -> Result<()> {
        let now = Utc::now();
        let since = self.written_until.map_or(now - self.lifetime - SKEW, |until| until - OVERLAP);
        let ended = self.sessions.ended_since(since).await?;
        for batch in ended.chunks(BATCH) {
            try_join_all(batch.iter().map(|session| self.revocations.revoke(session, self.lifetime))).await?;
        }
        self.written_until = Some(now);
        Ok(())
    }

    /// Ends what the deactivated have open and takes them out of the search; the other way round for the reactivated.
    async fn write_deactivated(&mut self) -> Result<()> {
        let now: HashSet<UserId> = self.accounts.deactivated().await?.into_iter().collect();
        for user in now.difference(&self.deactivated) {
            self.revocations.revoke_user(*user, self.lifetime).await?;
            self.show_anew(*user).await?;
        }
        for user in self.deactivated.difference(&now) {
            self.revocations.restore_user(*user).await?;
            self.show_anew(*user).await?;
        }
        self.deactivated = now;
        Ok(())
    }

    /// Lets the search and the cached profile follow the account.
    async fn show_anew(&self, user: UserId) -> Result<()> {
        self.directory.reindex(&[user]).await?;
        self.profiles.forget(user).await;
        Ok(())
    }

    async fn is_redis_new(&self) -> Result<bool> {
        let known: Option<String> = self.redis.connection().get(self.mark()).await?;
        Ok(known.is_none())
    }

    /// Set last: a replica that dies before it leaves the work to the others.
    async fn mark_redis(&self) -> Result<()> {
        Ok(self.redis.connection().set(self.mark(), "1").await?)
    }

    fn mark(&self) -> String {
        self.redis.key(format_args!("session:known"))
    }

    async fn prune(&mut self) -> Result<()> {
        if self.pruned_at.is_none_or(|at| at.elapsed() > PRUNE) {
            self.sessions.prune().await?;
            self.pruned_at = Some(Instant::now());
        }
        Ok(())
    }
}
