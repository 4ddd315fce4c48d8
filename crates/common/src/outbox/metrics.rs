//! What waits in the outbox, and for how long.

use std::time::Duration;

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::error::Result;

/// Three measures for every scrape.
const EVERY: Duration = Duration::from_secs(5);

struct Gauges {
    pending: IntGaugeVec,
    oldest_age: GaugeVec,
}

/// Measures until the shutdown.
pub(super) async fn measure(outbox: &Shared, shutdown: &CancellationToken) {
    let gauges = match Gauges::register(&outbox.registry) {
        Ok(gauges) => gauges,
        Err(error) => return tracing::error!(%error, "the outbox is not measured"),
    };
    while !shutdown.is_cancelled() {
        if let Err(error) = gauges.read(outbox).await {
            tracing::debug!(%error, "the outbox cannot be measured");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

impl Gauges {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let pending = Opts::new("outbox_pending", "Committed events that are not yet published");
        let oldest_age = Opts::new("outbox_oldest_age_seconds", "Age of the oldest of them");
        let gauges = Self {
            pending: IntGaugeVec::new(pending, &["service"])?,
            oldest_age: GaugeVec::new(oldest_age, &["service"])?,
        };
        registry.register(Box::new(gauges.pending.clone()))?;
        registry.register(Box::new(gauges.oldest_age.clone()))?;
        Ok(gauges)
    }

    async fn read(&self, outbox: &Shared) -> Result<()> {
        let service = outbox.service;
        let (pending, age): (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT COUNT(*), COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(6)), 0)
             FROM {service}_outbox"
        )))
        .fetch_one(&outbox.pool)
        .await?;
        let label = format!("{service}-service");
        self.pending.with_label_values(&[&label]).set(pending);
        self.oldest_age
            .with_label_values(&[&label])
            .set(Duration::from_micros(age.max(0).unsigned_abs()).as_secs_f64());
        Ok(())
    }
}
