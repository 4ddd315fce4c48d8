//! Whether this process can do its work, one entry per dependency.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// A dependency that does not answer within this is not ready; probes of Kubernetes wait at least as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries to prepare a dependency that is away.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The checks of a service.
#[derive(Clone)]
pub struct Health {
    shutdown: Shutdown,
    checks: Arc<Mutex<Vec<(&'static str, Check)>>>,
}

/// The body of /health/ready.
#[derive(Debug, Serialize)]
pub struct Report {
    status: &'static str,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
struct Dependency {
    name: &'static str,
    status: &'static str,
    latency_ms: f64,
}

impl Report {
    pub fn ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Health {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, checks: Arc::default() }
    }

    /// Adds a dependency and how to ask after it.
    pub fn require<F>(&self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Prepares a dependency as soon as it is there, and reports it as ready from then on, while `check` says so.
    ///
    /// A start never waits for it: until it is done the service lives and is not ready. What no waiting mends ends the
    /// process.
    pub fn prepare<P, C>(
        &self,
        name: &'static str,
        prepare: impl Fn() -> P + Send + Sync + 'static,
        check: impl Fn() -> C + Send + Sync + 'static,
    ) where
        P: Future<Output = Result<()>> + Send + 'static,
        C: Future<Output = Result<()>> + Send + 'static,
    {
        let prepared = CancellationToken::new();
        tokio::spawn(prepare_when_up(name, prepare, prepared.clone(), self.shutdown.clone()));
        self.require(name, move || {
            let checked = prepared.is_cancelled().then(&check);
            async move {
                match checked {
                    Some(checked) => checked.await,
                    None => Err(Error::unavailable(name, "not prepared yet")),
                }
            }
        });
    }

    pub async fn report(&self) -> Report {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dependencies = join_all(checks.into_iter().map(|(name, check)| ask(name, check))).await;
        let status = match dependencies.iter().all(|d| d.status == "ready") {
            _ if self.shutdown.draining() => "draining",
            true => "ready",
            false => "unavailable",
        };
        Report { status, dependencies }
    }
}

async fn prepare_when_up<P>(name: &str, prepare: impl Fn() -> P, prepared: CancellationToken, shutdown: Shutdown)
where
    P: Future<Output = Result<()>>,
{
    let forever = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let done = prepare
        .retry(forever)
        .when(|e| matches!(e, Error::Unavailable { .. }))
        .notify(|e, _| tracing::warn!(error = %e, "{name} is not prepared yet"))
        .await;
    match done {
        Ok(()) => prepared.cancel(),
        Err(e) => shutdown.fail(format!("{name} cannot be prepared: {e}")),
    }
}

async fn ask(name: &'static str, check: Check) -> Dependency {
    let started = Instant::now();
    let status = match tokio::time::timeout(PATIENCE, check()).await {
        Ok(Ok(())) => "ready",
        Ok(Err(_)) | Err(_) => "unavailable",
    };
    Dependency { name, status, latency_ms: started.elapsed().as_micros() as f64 / 1000.0 }
}
