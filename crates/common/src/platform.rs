//! What a service stands on: its name, configuration, metrics, health and end; and how its process runs.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;

use crate::config::{Base, ConfigError, Env};
use crate::health::Health;
use crate::http::{self, Service};
use crate::kafka::topics;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Metrics};

/// What background work gets even when requests used up the time: a flush of the producer takes less.
const FLUSH: Duration = Duration::from_secs(3);

/// A container's health check gives up after this.
const HEALTHCHECK_PATIENCE: Duration = Duration::from_secs(2);

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
    let done = match std::env::args().nth(1).as_deref() {
        None => run(service, &env, read, app).await,
        Some("topics") => create_topics(service, &env).await,
        Some("healthcheck") => healthcheck(service, &env).await,
        Some(other) => Err(format!("no command {other:?}; there are topics and healthcheck").into()),
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
    telemetry::start_logs(&base);
    for warning in base.warnings() {
        tracing::warn!("{warning}");
    }
    let platform = Platform::new(service, base)?;
    let app = app(platform.clone(), own).await?;
    let (host, port) = (platform.config.host, platform.config.port);
    let listener = TcpListener::bind((host, port)).await.map_err(|e| format!("PORT: {host}:{port}: {e}"))?;
    tracing::info!(port, started_ms = started.elapsed().as_millis() as u64, "listening");
    serve(&platform, listener, app).await?;
    tracing::info!("stopped");
    Ok(())
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

/// Creates the topics: the explicit step before a first start.
async fn create_topics(service: Service, env: &Env) -> Result<(), Failure> {
    let base = Base::read(env, service.name, service.port)?;
    telemetry::start_logs(&base);
    let replication = env.number("KAFKA_REPLICATION", 3, 1..=9)? as i32;
    Ok(topics::create(&base.kafka.bootstrap, &base.kafka.topics, replication).await?)
}

/// Whether the service on this machine lives: for images that have no shell and no curl.
async fn healthcheck(service: Service, env: &Env) -> Result<(), Failure> {
    let url = format!("http://127.0.0.1:{}/health", env.parse("PORT", service.port)?);
    let http = reqwest::Client::builder().no_proxy().timeout(HEALTHCHECK_PATIENCE).build()?;
    http.get(url).send().await?.error_for_status()?;
    Ok(())
}
