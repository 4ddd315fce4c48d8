//! The `main` of a service.

mod commands;
mod dead_letters;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use common::config::{ConfigError, Env};
use common::error::BoxError;
use platform::config::Base;
use platform::telemetry::{self, Metrics};
use platform::{Platform, Service, http};
use tokio::net::TcpListener;

pub use commands::Command;

/// The time for background work after the requests, even if they used up theirs. The producer flushes in less.
const FLUSH: Duration = Duration::from_secs(3);

/// Serves, or executes the command that the first argument names: `topics`, `dlq` or `healthcheck`.
///
/// `own` has the commands that the program itself executes, for `--help`. `read` reads the service's own variables. `app` builds the router and starts the background work; it must not wait
/// for a database or broker. An error ends the process with one line on stderr.
pub async fn main<C, F>(
    service: Service,
    own: &[Command],
    read: impl FnOnce(&Env) -> Result<C, ConfigError>,
    app: impl FnOnce(Platform, C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Router, BoxError>>,
{
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = async {
        let env = Env::of_process()?;
        match args.split_first() {
            None => run(service, &env, read, app).await,
            Some((command, args)) => commands::execute(service, own, &env, command, args).await,
        }
    };
    exit_code(service, done.await)
}

/// The exit status of a command. Prints an error as one line.
#[expect(clippy::print_stderr, reason = "the line with the reason of the exit, whatever the log's settings")]
pub fn exit_code(service: Service, done: Result<(), BoxError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", service.name);
            ExitCode::FAILURE
        }
    }
}

async fn run<C, F>(
    service: Service,
    env: &Env,
    read: impl FnOnce(&Env) -> Result<C, ConfigError>,
    app: impl FnOnce(Platform, C) -> F,
) -> Result<(), BoxError>
where
    F: Future<Output = Result<Router, BoxError>>,
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

/// Registers metrics of the tokio runtime.
fn measure_runtime(metrics: &Metrics) -> prometheus::Result<()> {
    let (alive, queued) = (tokio::runtime::Handle::current().metrics(), tokio::runtime::Handle::current().metrics());
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.gauge_of("runtime_tasks", "Live tasks of the runtime", move || count(alive.num_alive_tasks()))?;
    metrics.gauge_of("runtime_queue_length", "Tasks that are ready and wait for a thread", move || {
        count(queued.global_queue_depth())
    })
}

async fn serve(platform: &Platform, listener: TcpListener, app: Router) -> Result<(), BoxError> {
    let (shutdown, limit) = (&platform.shutdown, platform.config.shutdown);
    let deadline = async {
        shutdown.on_signal().await?;
        tokio::time::sleep(limit.saturating_sub(FLUSH)).await;
        tracing::warn!("requests still run at the deadline, closing");
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        served = http::serve(listener, app, platform) => served?,
        late = deadline => late?,
        reason = shutdown.failed() => return Err(reason.into()),
    }
    shutdown.stop(FLUSH).await;
    Ok(())
}
