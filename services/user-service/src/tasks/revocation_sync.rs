//! Copies revocations from MySQL, which holds the truth, to Redis, which all services read.
//!
//! A logout writes to both. This task repeats writes that failed, restores all revocations after Redis lost its data,
//! and follows an operator who deactivates an account in MySQL. Each takes effect within one or two seconds.

use std::pin::pin;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;

use common::id::UserId;
use engines::error::Result;
use platform::task::every;
use service::auth::Revocations;

use crate::store::{Deactivations, Directory, Profiles, Sessions};

/// A service remembers for three seconds that a session is not revoked: together, a revocation is known everywhere in five. Also a
/// system in which nobody logs out is asked each second.
const PAUSE: Duration = Duration::from_secs(1);

/// A commit becomes visible some time after the timestamp in its row.
const COMMIT_DELAY: Duration = Duration::from_secs(10);

/// Revocations in one round trip to Redis, and accounts in one transaction.
const BATCH: usize = 500;

pub struct RevocationSync {
    deactivations: Deactivations,
    sessions: Sessions,
    directory: Directory,
    profiles: Profiles,
    revocations: Revocations,
    /// The lifetime of an access token. The revocation of an account stays in Redis for as long, and is renewed earlier.
    token_lifetime: Duration,
    /// Revocations before this time are in Redis. `None` before the first copy.
    copied_until: Option<DateTime<Utc>>,
    /// When the last copy of all deactivated accounts began.
    renewed_at: Instant,
}

impl RevocationSync {
    pub fn new(
        deactivations: Deactivations,
        sessions: Sessions,
        directory: Directory,
        profiles: Profiles,
        revocations: Revocations,
        token_lifetime: Duration,
    ) -> Self {
        Self {
            deactivations,
            sessions,
            directory,
            profiles,
            revocations,
            token_lifetime,
            copied_until: None,
            renewed_at: Instant::now(),
        }
    }

    /// Keeps Redis up to date until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "revocations", &stop, &mut self, Self::sync).await;
    }

    async fn sync(&mut self) -> Result<()> {
        let changed = self.deactivations.any_to_follow().await?;
        if changed {
            // First, because it needs no Redis.
            self.end_deactivated().await?;
        }
        let copied = self.copied_until.is_some() && self.revocations.is_copied().await?;
        if copied && self.renewed_at.elapsed() < self.token_lifetime / 2 {
            self.copy_sessions().await?;
        } else {
            self.copy_all().await?;
        }
        if changed {
            self.copy_deactivated().await?;
            self.restore_reactivated().await?;
        }
        Ok(())
    }

    async fn copy_all(&mut self) -> Result<()> {
        let copy = self.revocations.begin_copy().await?;
        (self.copied_until, self.renewed_at) = (None, Instant::now());
        self.copy_accounts().await?;
        self.copy_sessions().await?;
        self.revocations.finish_copy(copy).await
    }

    async fn copy_sessions(&mut self) -> Result<()> {
        let now = Utc::now();
        let since = self.copied_until.map_or(DateTime::UNIX_EPOCH, |until| until - COMMIT_DELAY);
        let mut batches = pin!(self.sessions.revocations(since).try_chunks(BATCH));
        while let Some(batch) = batches.try_next().await.map_err(|e| e.1)? {
            let revoked: Vec<_> = batch.into_iter().map(|revocation| revocation.for_redis(now)).collect();
            self.revocations.revoke(&revoked).await?;
        }
        self.copied_until = Some(now);
        Ok(())
    }

    async fn copy_accounts(&self) -> Result<()> {
        let mut batches = pin!(self.deactivations.recorded().try_chunks(BATCH));
        while let Some(users) = batches.try_next().await.map_err(|e| e.1)? {
            self.revocations.revoke_users(&users, self.token_lifetime).await?;
            // Another replica may have restored one of them since the list was read: recorded, it is restored again.
            self.deactivations.record(&users).await?;
        }
        Ok(())
    }

    /// Ends the sessions of deactivated accounts.
    async fn end_deactivated(&self) -> Result<()> {
        loop {
            let users = self.deactivations.not_ended(BATCH).await?;
            if users.is_empty() {
                return Ok(());
            }
            self.deactivations.end_sessions(&users).await?;
        }
    }

    /// Revokes the tokens of deactivated accounts and removes the accounts from the search.
    async fn copy_deactivated(&self) -> Result<()> {
        loop {
            let users = self.deactivations.pending(BATCH).await?;
            if users.is_empty() {
                return Ok(());
            }
            self.revocations.revoke_users(&users, self.token_lifetime).await?;
            self.refresh_copies(&users).await?;
            self.deactivations.set_copied(&users).await?;
        }
    }

    /// Accepts tokens of reactivated accounts and adds the accounts to the search.
    async fn restore_reactivated(&self) -> Result<()> {
        loop {
            let users = self.deactivations.reactivated(BATCH).await?;
            if users.is_empty() {
                return Ok(());
            }
            self.refresh_copies(&users).await?;
            self.deactivations.forget(&users, async |active| self.revocations.restore_users(active).await).await?;
        }
    }

    /// Updates the copies of the state of accounts: the search index and the cached profiles.
    async fn refresh_copies(&self, users: &[UserId]) -> Result<()> {
        self.directory.reindex(users).await?;
        self.profiles.invalidate(users).await;
        Ok(())
    }
}
