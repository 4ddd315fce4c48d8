//! What a service stands on: its name, configuration, metrics, health and end; and how it is run.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use tokio::net::TcpListener;

use crate::config::Base;
use crate::health::Health;
use crate::http::{self, Service};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Metrics};

/// One per process (and one per service in a test).
#[derive(Clone)]
pub struct Platform {
    pub service: Service,
    pub config: Arc<Base>,
    pub metrics: Metrics,
    pub health: Health,
    pub shutdown: Shutdown,
}

impl Platform {
    pub fn new(service: Service, config: Base) -> Result<Self, prometheus::Error> {
        let shutdown = Shutdown::new();
        Ok(Self {
            service,
            config: Arc::new(config),
            metrics: Metrics::new(service.name)?,
            health: Health::new(shutdown.clone()),
            shutdown,
        })
    }
}

/// Runs a service from the first log line to the last.
///
/// `build` makes the router and starts the background work; it must not wait for an engine.
pub async fn run<F>(service: Service, config: Base, build: impl FnOnce(Platform) -> F) -> ExitCode
where
    F: Future<Output = Result<Router, Failure>>,
{
    telemetry::start_logs(&config);
    match serve(service, config, build).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = %e, "cannot run");
            ExitCode::FAILURE
        }
    }
}

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn serve<F>(service: Service, config: Base, build: impl FnOnce(Platform) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Router, Failure>>,
{
    let started = Instant::now();
    let address = (config.host, config.port);
    let platform = Platform::new(service, config)?;
    for warning in platform.config.warnings() {
        tracing::warn!("{warning}");
    }
    let app = build(platform.clone()).await?;
    let listener = TcpListener::bind(address).await.map_err(|e| format!("{}:{}: {e}", address.0, address.1))?;
    tracing::info!(port = address.1, started_ms = started.elapsed().as_millis() as u64, "{} listens", service.name);

    let (shutdown, patience) = (&platform.shutdown, platform.config.shutdown);
    let signalled = Instant::now();
    tokio::select! {
        served = http::serve(listener, app, shutdown) => served?,
        late = overdue(shutdown, patience) => late?,
    }
    let left = patience.saturating_sub(signalled.elapsed().min(patience));
    shutdown.stop(left.max(FLUSH)).await;
    tracing::info!("stopped");
    Ok(())
}

/// What background work gets even when requests used up the time: a flush of the producer takes less.
const FLUSH: std::time::Duration = std::time::Duration::from_secs(3);

/// Waits for the signal to end, and then only as long as the deadline allows.
async fn overdue(shutdown: &Shutdown, patience: std::time::Duration) -> std::io::Result<()> {
    shutdown.on_signal().await?;
    tokio::time::sleep(patience.saturating_sub(FLUSH)).await;
    tracing::warn!("requests still run at the deadline, closing");
    Ok(())
}
