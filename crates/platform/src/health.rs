//! Readiness of a process: one check per dependency.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use common::error::Error;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// A dependency that does not answer within this time is not ready. Kubernetes' probes wait at least as long.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The pauses between attempts to prepare an unavailable dependency.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Resolves with whether the dependency is ready.
type Check = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// The checks of a service. Clones share them.
#[derive(Clone)]
pub struct Health {
    shutdown: Shutdown,
    checks: Arc<Mutex<Vec<(&'static str, Check)>>>,
}

/// The body of `/health/ready`.
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
    /// Whether all dependencies are ready and no shutdown has begun.
    pub fn ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Health {
    /// No checks; a shutdown makes the process not ready.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, checks: Arc::default() }
    }

    /// Adds a dependency, which is ready while `check` succeeds.
    pub fn require<F, E>(&self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().map(|checked| checked.is_ok()).boxed());
        self.checks.lock().push((name, check));
    }

    /// Prepares a dependency as soon as it is available. From then on it is ready while `check` succeeds.
    ///
    /// The start does not wait for the preparation. Until it is done, the service is alive and not ready. An error
    /// other than [`Error::Unavailable`] does not pass and ends the process.
    pub fn prepare<P, C, E, F>(
        &self,
        name: &'static str,
        prepare: impl Fn() -> P + Send + Sync + 'static,
        check: impl Fn() -> C + Send + Sync + 'static,
    ) where
        P: Future<Output = Result<(), E>> + Send + 'static,
        C: Future<Output = Result<(), F>> + Send + 'static,
        E: Into<Error>,
    {
        let prepared = CancellationToken::new();
        let prepare = move || prepare().map(|prepared| prepared.map_err(Into::into));
        tokio::spawn(prepare_when_up(name, prepare, prepared.clone(), self.shutdown.clone()));
        self.require(name, move || {
            let checked = prepared.is_cancelled().then(&check);
            async move {
                match checked {
                    Some(checked) => checked.await.map_err(drop),
                    None => Err(()),
                }
            }
        });
    }

    /// Runs all checks.
    pub async fn report(&self) -> Report {
        let checks = self.checks.lock().clone();
        let dependencies = join_all(checks.into_iter().map(|(name, check)| run(name, check))).await;
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
    P: Future<Output = Result<(), Error>>,
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

async fn run(name: &'static str, check: Check) -> Dependency {
    let started = Instant::now();
    let status = match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
        Ok(true) => "ready",
        Ok(false) | Err(_) => "unavailable",
    };
    Dependency { name, status, latency_ms: started.elapsed().as_micros() as f64 / 1000.0 }
}
