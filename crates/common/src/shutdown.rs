//! How a process ends: first it says so, then it stops taking work, then it finishes what it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections are still taken after readiness turned 503: two probes of a balancer that asks each second.
const DRAIN: Duration = Duration::from_secs(2);

/// The three steps of an end, and the background tasks that have to reach it.
///
/// 1. *draining*: not ready any more, streams are told to reconnect, requests are still taken;
/// 2. *closing*: the listener is closed, running requests finish;
/// 3. *stopping*: background work (relay, consumers, writer) finishes and flushes.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
    stopping: CancellationToken,
    failure: Arc<SetOnce<String>>,
    tasks: TaskTracker,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when streams should tell their readers to reconnect elsewhere.
    pub fn draining_token(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Resolves when no more connections are to be taken.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Cancelled when background work should finish and flush.
    pub fn stopping_token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Ends the process for a fault that no waiting mends; the first reason counts.
    pub fn fail(&self, reason: String) {
        // A second reason changes nothing.
        let _ = self.failure.set(reason);
    }

    /// Resolves with the reason for which the process cannot go on.
    pub async fn failed(&self) -> String {
        self.failure.wait().await.clone()
    }

    /// Runs background work that the end waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for SIGTERM or SIGINT, then goes through the first two steps.
    pub async fn on_signal(&self) -> std::io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM, draining"),
            _ = int.recv() => tracing::info!("SIGINT, draining"),
        }
        self.draining.cancel();
        tokio::time::sleep(DRAIN).await;
        self.closing.cancel();
        Ok(())
    }

    /// The last step: background work gets until the deadline.
    pub async fn stop(&self, within: Duration) {
        self.draining.cancel();
        self.closing.cancel();
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "background work did not end in time");
        }
    }
}
