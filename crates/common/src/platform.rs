//! What a service stands on: its name, configuration, metrics, health and end; and how its process runs.

mod commands;
mod dead_letters;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;

use crate::config::{Base, ConfigError, Env};
use crate::health::Health;
use crate::http::{self, Service};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Metrics};

/// What background work gets even when requests used up the time: a flush of the producer takes less.
const FLUSH: Duration = Duration::from_secs(3);

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
        let metrics = Metrics::new(service.name, &config.version)?;
        Ok(Self { service, config: Arc::new(config), metrics, health: Health::new(shutdown.clone()), shutdown })
    }
}

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The `main` of a service: serves, or carries out the command that its first argument names.
///
/// `app` makes the router and starts the background work; it must not wait for an engine.
pub async fn main<C, F>(
    service: Service,
    read: impl FnOnce(&Env) -> Result<C, ConfigError>,
    app: impl FnOnce(Platform, C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Router, Failure>>,
{
    let env = Env::of_process();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        None => run(service, &env, read, app).await,
        Some((command, args)) => commands::carry_out(service, &env, command, args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(service, &*e);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one line that says why a process ended, whatever the log's settings")]
fn say(service: Service, error: &(dyn std::error::Error + Send + Sync)) {
    eprintln!("{}: {error}", service.name);
}

async fn run<C, F>(
    service: Service,
    env: &Env,
    read: impl FnOnce(&Env) -> Result<C, ConfigError>,
    app: impl FnOnce(Platform, C) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<Router, Failure>>,
{
    let started = Instant::now();
    let (base, own) = (Base::read(env, service.name, service.port)?, read(env)?);
    let platform = Platform::new(service, base)?;
    let telemetry = telemetry::start(service.name, &platform.config, &platform.metrics)?;
    measure_runtime(&platform.metrics)?;
    for warning in platform.config.warnings() {
        tracing::warn!("{warning}");
    }
    let app = app(platform.clone(), own).await?;
    let (host, port) = (platform.config.host, platform.config.port);
    let listener = TcpListener::bind((host, port)).await.map_err(|e| format!("PORT: {host}:{port}: {e}"))?;
    tracing::info!(port, started_ms = started.elapsed().as_millis() as u64, "listening");
    serve(&platform, listener, app).await?;
    tracing::info!("stopped");
    telemetry.flush().await;
    Ok(())
}

/// How busy the process is with its own tasks.
fn measure_runtime(metrics: &Metrics) -> prometheus::Result<()> {
    let (alive, queued) = (tokio::runtime::Handle::current().metrics(), tokio::runtime::Handle::current().metrics());
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.gauge_of("runtime_tasks", "Tasks of the runtime that live", move || count(alive.num_alive_tasks()))?;
    metrics.gauge_of("runtime_queue_length", "Tasks that are ready and wait for a thread", move || {
        count(queued.global_queue_depth())
    })
}

async fn serve(platform: &Platform, listener: TcpListener, app: Router) -> Result<(), Failure> {
    let (shutdown, patience) = (&platform.shutdown, platform.config.shutdown);
    let deadline = async {
        shutdown.on_signal().await?;
        tokio::time::sleep(patience.saturating_sub(FLUSH)).await;
        tracing::warn!("requests still run at the deadline, closing");
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        served = http::serve(listener, app, shutdown) => served?,
        late = deadline => late?,
        reason = shutdown.failed() => return Err(reason.into()),
    }
    shutdown.stop(FLUSH).await;
    Ok(())
}
