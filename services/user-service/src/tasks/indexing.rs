//! Makes accounts findable that an original wrote, after each start.

use std::time::{Duration, Instant};

use common::id::UserId;
use tokio_util::sync::CancellationToken;

use crate::store::Directory;

/// Until the tables are there, or MySQL is again.
const RETRY: Duration = Duration::from_secs(1);

/// Goes through all accounts once. What is indexed stays so: a restart goes on where it matters.
pub async fn index(directory: Directory, stop: CancellationToken) {
    let started = Instant::now();
    let mut after = UserId(0);
    while !stop.is_cancelled() {
        match directory.catch_up(after).await {
            Ok(Some(last)) => after = last,
            Ok(None) => {
                tracing::info!(took_ms = started.elapsed().as_millis() as u64, "the search index is up to date");
                return;
            }
            Err(e) => {
                tracing::debug!(error = %e, "the search index has to wait");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
