//! The number of events in the outbox and the age of the oldest.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::error::Result;

/// The interval of the measurements: three for every scrape.
const INTERVAL: Duration = Duration::from_secs(5);

/// Measures until the shutdown.
pub(super) async fn measure(outbox: &Shared, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = measure_once(outbox).await {
            tracing::debug!(%error, "the outbox cannot be measured");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn measure_once(outbox: &Shared) -> Result<()> {
    let (pending, age): (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT COUNT(*), COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(6)), 0)
         FROM {}_outbox",
        outbox.service
    )))
    .fetch_one(&outbox.pool)
    .await?;
    let age = Duration::from_micros(age.max(0).unsigned_abs());
    outbox.metrics.outbox(&format!("{}_outbox", outbox.service), pending.unsigned_abs(), age);
    Ok(())
}
