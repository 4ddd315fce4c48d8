//! Logs, metrics and traces.

mod logs;
mod metrics;
mod pools;
mod statements;
pub mod trace;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Base;
use crate::platform::Failure;

pub use metrics::{Cache, Metrics, Queries};
pub use pools::PoolSize;
pub use trace::Trace;

/// What the end of the process has to see off.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging to stdout, and traces if they are wanted; called once per process.
pub fn start(service: &'static str, config: &Base, metrics: &Metrics) -> Result<Telemetry, Failure> {
    let traces = config.otlp_endpoint.as_deref().map(|to| trace::provider(service, &config.version, to)).transpose()?;
    tracing_subscriber::registry()
        .with(logs::layer(config))
        .with(statements::layer(metrics.queries("mysql")))
        .with(traces.as_ref().map(|provider| trace::layer(provider).boxed()))
        .init();
    Ok(Telemetry { traces })
}

/// Starts logging alone, for commands.
pub fn start_logs(config: &Base) {
    tracing_subscriber::registry().with(logs::layer(config)).init();
}

impl Telemetry {
    /// Sends the spans that wait.
    pub async fn flush(self) {
        let Some(traces) = self.traces else { return };
        let ended = tokio::task::spawn_blocking(move || traces.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "spans were not sent");
        }
    }
}
