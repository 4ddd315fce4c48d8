//! Brings the search index up to date after each start: the original does not maintain it.

use std::time::{Duration, Instant};

use common::id::UserId;
use tokio_util::sync::CancellationToken;

use crate::store::Directory;

/// The pause after a failure, as at a start before the tables exist.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Passes over all accounts once and indexes those whose entries are missing or stale.
pub async fn backfill_search_index(directory: Directory, stop: CancellationToken) {
    let started = Instant::now();
    let mut after = UserId(0);
    while !stop.is_cancelled() {
        match directory.backfill(after).await {
            Ok(Some(last)) => after = last,
            Ok(None) => {
                tracing::info!(took_ms = started.elapsed().as_millis() as u64, "the search index is up to date");
                return;
            }
            Err(e) => {
                tracing::debug!(error = %e, "the backfill of the search index failed, it is retried");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
