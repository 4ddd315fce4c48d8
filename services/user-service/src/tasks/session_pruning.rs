//! Deletes the rows of expired sessions, at the start and then every hour.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use engines::error::Result;
use platform::task::every;

use crate::store::Sessions;

const INTERVAL: Duration = Duration::from_secs(3600);

/// The wait for MySQL at the start, and between attempts that fail.
const PAUSE: Duration = Duration::from_secs(5);

pub struct SessionPruning {
    sessions: Sessions,
    pruned_at: Option<Instant>,
}

impl SessionPruning {
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions, pruned_at: None }
    }

    /// Runs until the shutdown.
    pub async fn run(mut self, stopping: CancellationToken) {
        every(PAUSE, "expired sessions", &stopping, &mut self, Self::prune).await;
    }

    async fn prune(&mut self) -> Result<()> {
        if self.pruned_at.is_none_or(|at| at.elapsed() > INTERVAL) {
            self.sessions.prune().await?;
            self.pruned_at = Some(Instant::now());
        }
        Ok(())
    }
}
