//! Logs, metrics and traces.

pub mod audit;
mod logs;
mod metrics;
pub(crate) mod panics;
mod pools;
mod statements;
pub mod trace;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use common::error::BoxError;

use crate::config::{Base, LogConfig};

pub use audit::Audit;
pub use metrics::{Cache, Metrics, Queries};
pub use pools::PoolSize;
pub use trace::Trace;

/// Buffers telemetry until [`Telemetry::flush`] at the end of the process.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log on stdout, which has panics too, the durations of SQL statements, and traces if an endpoint is configured. A process calls
/// it once.
///
/// # Errors
/// Returns an error if the exporter cannot be built.
///
/// # Panics
/// Panics if a subscriber is already set.
pub fn start(service: &'static str, config: &Base, metrics: &Metrics) -> Result<Telemetry, BoxError> {
    let traces = config.otlp.as_ref().map(|to| trace::provider(service, &config.version, to)).transpose()?;
    tracing_subscriber::registry()
        .with(logs::layer(&config.log))
        .with(statements::layer(metrics.queries("mysql")))
        .with(traces.as_ref().map(|provider| trace::layer(provider).boxed()))
        .init();
    panics::log();
    Ok(Telemetry { traces })
}

/// Starts the log alone, for commands.
///
/// # Panics
/// Panics if a subscriber is already set.
pub fn start_logs(config: &LogConfig) {
    tracing_subscriber::registry().with(logs::layer(config)).init();
    panics::log();
}

impl Telemetry {
    /// Sends the buffered spans.
    pub async fn flush(self) {
        let Some(traces) = self.traces else { return };
        let ended = tokio::task::spawn_blocking(move || traces.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "spans were not sent");
        }
    }
}

#[cfg(test)]
mod otlp_tests;
