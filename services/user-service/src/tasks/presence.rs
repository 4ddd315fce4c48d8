//! The presence sweep: each second, or every two while nobody comes or goes, it marks users online or offline in MySQL
//! as their keys in Redis appear and expire.
//!
//! Every service sets `user:online:{id}` at a sign of life and records in the sorted set `presence:due` when the key
//! expires. A user whose due time has passed and whose key is gone is marked offline. A user with a recent due time who
//! is marked offline is marked online. MySQL serializes the changes, so any number of replicas may sweep.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use common::id::UserId;
use engines::error::Result;
use engines::presence::Presence;
use platform::task::{Found, poll};
use prometheus::IntGauge;
use tokio_util::sync::CancellationToken;

use crate::store::OnlineStatus;

const PAUSES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(2);

/// The age up to which a sign of life is recent: two pauses and the difference of two clocks.
const RECENT: Duration = Duration::from_secs(5);

/// Users that one transaction marks. Their rows are locked until it ends.
const BATCH: usize = 100;

/// Users that one command or query returns.
const PAGE: usize = 1_000;

/// A crash between two writes can leave a user marked online without a due time. Reconciling all users finds it.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

pub struct PresenceSweeper {
    status: OnlineStatus,
    presence: Presence,
    online: IntGauge,
    reconciled_at: Option<Instant>,
}

impl PresenceSweeper {
    /// `online` counts the users who are online.
    pub fn new(status: OnlineStatus, presence: Presence, online: IntGauge) -> Self {
        Self { status, presence, online, reconciled_at: None }
    }

    /// Sweeps until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        poll(PAUSES, "presence sweep", &stop, &mut self, Self::sweep).await;
    }

    async fn sweep(&mut self) -> Result<Found> {
        if self.presence.is_redis_new().await? || self.reconciled_at.is_none_or(|at| at.elapsed() > RECONCILE_INTERVAL)
        {
            self.reconcile().await?;
            self.reconciled_at = Some(Instant::now());
        }
        let marked = [self.mark_online().await?, self.mark_offline().await?];
        self.online.set(self.presence.count_online().await?);
        Ok(if marked.contains(&Found::Work) { Found::Work } else { Found::Nothing })
    }

    /// Schedules a check of every user who is marked online and has no due time. The check is one key lifetime away, so
    /// that the user can show a sign of life first.
    async fn reconcile(&self) -> Result<()> {
        let mut after = UserId(0);
        loop {
            let page = self.status.marked_online(after, PAGE as u32).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            self.presence.expect_signs_of_life(&page).await?;
        }
    }

    /// Marks users online whose last sign of life is recent.
    async fn mark_online(&self) -> Result<Found> {
        let mut found = Found::Nothing;
        for page in self.presence.seen_within(RECENT).await?.chunks(PAGE) {
            let offline = self.status.marked_offline(page).await?;
            for batch in offline.chunks(BATCH) {
                self.status.mark_online(batch).await?;
                found = Found::Work;
            }
        }
        Ok(found)
    }

    /// Marks users offline whose keys have expired.
    async fn mark_offline(&self) -> Result<Found> {
        let mut found = Found::Nothing;
        loop {
            let due = self.presence.due(PAGE).await?;
            let expired = self.presence.expired(&due).await?;
            for batch in expired.chunks(BATCH) {
                let last_seen: Vec<_> = batch.iter().map(|due| (due.user, self.presence.last_seen(*due))).collect();
                self.status.mark_offline(&last_seen).await?;
                self.presence.remove(batch).await?;
                found = Found::Work;
            }
            if due.len() < PAGE {
                return Ok(found);
            }
        }
    }
}
