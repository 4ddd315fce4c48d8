//! Copies revocations from MySQL, which holds the truth, to Redis, which all services read.
//!
//! A logout writes to both. This task repeats writes that failed, restores all revocations after Redis lost its data,
//! and follows an operator who deactivates an account in MySQL. Each takes effect within one or two seconds.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;

use common::id::UserId;
use engines::error::Result;
use engines::redis::Redis;
use platform::task::every;
use service::auth::Revocations;

use crate::store::{Accounts, Directory, Profiles, Sessions};

const PAUSE: Duration = Duration::from_secs(1);

/// A commit becomes visible some time after the timestamp in its row.
const COMMIT_DELAY: Duration = Duration::from_secs(10);

/// Services accept a token for a moment after its expiry, and clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Revocations in one round trip to Redis, and accounts in one transaction.
const BATCH: usize = 500;

const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

pub struct RevocationSync {
    accounts: Accounts,
    sessions: Sessions,
    directory: Directory,
    profiles: Profiles,
    revocations: Revocations,
    redis: Redis,
    /// The lifetime of an access token. A revocation must stay in Redis for as long.
    token_lifetime: Duration,
    /// Revocations before this time are in Redis. `None` before the first copy.
    copied_until: Option<DateTime<Utc>>,
    /// The deactivated accounts that are in Redis.
    deactivated: HashSet<UserId>,
    /// When the copy of all deactivated accounts began.
    deactivated_since: Instant,
    pruned_at: Option<Instant>,
}

impl RevocationSync {
    pub fn new(
        accounts: Accounts,
        sessions: Sessions,
        directory: Directory,
        profiles: Profiles,
        revocations: Revocations,
        redis: Redis,
        token_lifetime: Duration,
    ) -> Self {
        Self {
            accounts,
            sessions,
            directory,
            profiles,
            revocations,
            redis,
            token_lifetime,
            copied_until: None,
            deactivated: HashSet::new(),
            deactivated_since: Instant::now(),
            pruned_at: None,
        }
    }

    /// Keeps Redis up to date until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "revocations", &stop, &mut self, Self::sync).await;
    }

    async fn sync(&mut self) -> Result<()> {
        if self.is_redis_new().await? || self.deactivated_since.elapsed() > self.token_lifetime / 2 {
            self.copied_until = None;
            self.deactivated.clear();
            self.deactivated_since = Instant::now();
        }
        self.copy_revocations().await?;
        self.copy_deactivations().await?;
        self.mark_redis().await?;
        self.prune().await
    }

    async fn copy_revocations(&mut self) -> Result<()> {
        let now = Utc::now();
        let since = self.copied_until.map_or(now - self.token_lifetime - CLOCK_SKEW, |until| until - COMMIT_DELAY);
        let revoked = self.sessions.revoked_since(since).await?;
        for batch in revoked.chunks(BATCH) {
            self.revocations.revoke(batch, self.token_lifetime).await?;
        }
        self.copied_until = Some(now);
        Ok(())
    }

    /// Ends the sessions of deactivated accounts, revokes their tokens and removes the accounts from the search; restores reactivated ones.
    async fn copy_deactivations(&mut self) -> Result<()> {
        let now: HashSet<UserId> = self.accounts.deactivated().await?.into_iter().collect();
        let changed = |from: &HashSet<UserId>, to: &HashSet<UserId>| to.difference(from).copied().collect::<Vec<_>>();
        for batch in changed(&self.deactivated, &now).chunks(BATCH) {
            self.sessions.revoke_deactivated(batch).await?;
            self.revocations.revoke_users(batch, self.token_lifetime).await?;
            self.refresh_copies(batch).await?;
        }
        for batch in changed(&now, &self.deactivated).chunks(BATCH) {
            self.revocations.restore_users(batch).await?;
            self.refresh_copies(batch).await?;
        }
        self.deactivated = now;
        Ok(())
    }

    /// Updates the copies of the state of accounts: the search index and the cached profiles.
    async fn refresh_copies(&self, users: &[UserId]) -> Result<()> {
        self.directory.reindex(users).await?;
        self.profiles.invalidate(users).await;
        Ok(())
    }

    /// Whether no replica has completed a copy since Redis was last empty.
    async fn is_redis_new(&self) -> Result<bool> {
        let mark: Option<String> = self.redis.connection().get(self.mark()).await?;
        Ok(mark.is_none())
    }

    /// Marks the copy as complete. Runs last: if a replica dies earlier, another one repeats the whole copy.
    async fn mark_redis(&self) -> Result<()> {
        Ok(self.redis.connection().set(self.mark(), "1").await?)
    }

    fn mark(&self) -> String {
        self.redis.key(format_args!("session:known"))
    }

    async fn prune(&mut self) -> Result<()> {
        if self.pruned_at.is_none_or(|at| at.elapsed() > PRUNE_INTERVAL) {
            self.sessions.prune().await?;
            self.pruned_at = Some(Instant::now());
        }
        Ok(())
    }
}
