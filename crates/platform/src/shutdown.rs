//! The shutdown of a process: readiness first, then the listener, then the background work.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections are accepted after readiness turned 503: two probes of a load balancer that probes each second.
const DRAIN: Duration = Duration::from_secs(2);

/// The three steps of a shutdown, and the background tasks that it waits for.
///
/// 1. *draining*: the process is not ready, streams ask their readers to reconnect, requests are still accepted;
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
    /// A shutdown that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first step has begun.
    pub fn draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when streams should ask their readers to reconnect elsewhere.
    pub fn draining_token(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Resolves when the listener closes.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Cancelled when background work should finish and flush.
    pub fn stopping_token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Ends the process for a fault that does not pass. The first reason counts.
    pub fn fail(&self, reason: String) {
        // Fails for a second reason.
        let _ = self.failure.set(reason);
    }

    /// Resolves with the reason for which the process has to end.
    pub async fn failed(&self) -> String {
        self.failure.wait().await.clone()
    }

    /// Spawns background work that the last step waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for SIGTERM or SIGINT, then takes the first two steps.
    ///
    /// # Errors
    /// Returns an error if the signals cannot be received.
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

    /// Takes all steps and waits for the background work, but no longer than `within`.
    pub async fn stop(&self, within: Duration) {
        self.draining.cancel();
        self.closing.cancel();
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "background work did not finish in time");
        }
    }
}
