//! Readiness of a process and the state of its dependencies.
//!
//! Each dependency is checked in the background, so a probe is answered from memory, whatever the pools do. A dependency that
//! becomes unavailable later is reported as degraded and does not make the process unready: all replicas would leave the load balancer
//! at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use common::error::Error;
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use prometheus::IntGaugeVec;
use serde::Serialize;

use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// The times of checks outside of tests.
const CHECKS: Checks = Checks { timeout: Duration::from_secs(2), pause: Duration::from_secs(5) };

/// The pauses between attempts to prepare an unavailable dependency.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The dependencies of a service. Clones share them.
#[derive(Clone)]
pub struct Health {
    shutdown: Shutdown,
    dependencies: Arc<Mutex<Vec<Dependency>>>,
    up: IntGaugeVec,
    checks: Checks,
}

#[derive(Clone, Copy)]
struct Checks {
    /// A dependency that does not answer within this time is degraded.
    timeout: Duration,
    /// The pause between two checks of a dependency.
    pause: Duration,
}

/// The body of `/health/ready`.
#[derive(Debug, Serialize)]
pub struct Report {
    status: Status,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Serialize)]
struct Dependency {
    name: &'static str,
    status: Status,
    /// The time that the last check took.
    latency_ms: f64,
    /// The process is not ready before it has prepared this dependency.
    required: bool,
}

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ready,
    /// The dependency does not answer. The process does what it can without it.
    Degraded,
    /// The dependency is required and was not prepared yet.
    Unavailable,
    Draining,
}

impl Report {
    /// Whether a load balancer should send requests: all required dependencies were prepared and no shutdown has begun.
    pub fn ready(&self) -> bool {
        self.status <= Status::Degraded
    }
}

impl Health {
    /// No dependencies; a shutdown makes the process not ready.
    ///
    /// # Errors
    /// Returns an error if the metric is registered already.
    pub fn new(shutdown: Shutdown, metrics: &Metrics) -> prometheus::Result<Self> {
        let up = metrics.gauges("dependency_up", "1 while the dependency answers", &["dependency"])?;
        Ok(Self { shutdown, dependencies: Arc::default(), up, checks: CHECKS })
    }

    /// Watches a dependency without which the process is ready too.
    pub fn watch<C, F>(&self, name: &'static str, check: impl Fn() -> C + Send + Sync + 'static)
    where
        C: Future<Output = Result<(), F>> + Send + 'static,
    {
        self.add(name, false);
        let health = self.clone();
        self.spawn(async move { health.check_forever(name, check).await });
    }

    /// Prepares a dependency as soon as it is available, and watches it from then on.
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
        self.add(name, true);
        let health = self.clone();
        self.spawn(async move {
            match prepare_when_up(name, prepare).await {
                Ok(took) => health.set(name, Status::Ready, took),
                Err(e) => return health.shutdown.fail(format!("{name} cannot be prepared: {e}")),
            }
            health.check_forever(name, check).await;
        });
    }

    /// The state of all dependencies. Answers from memory.
    pub fn report(&self) -> Report {
        let dependencies = self.dependencies.lock().clone();
        let worst = dependencies.iter().map(|dependency| dependency.status).max().unwrap_or(Status::Ready);
        let status = if self.shutdown.draining() { Status::Draining } else { worst };
        Report { status, dependencies }
    }

    fn add(&self, name: &'static str, required: bool) {
        let status = if required { Status::Unavailable } else { Status::Degraded };
        self.dependencies.lock().push(Dependency { name, status, latency_ms: 0.0, required });
        self.up.with_label_values(&[name]).set(0);
    }

    /// Runs work until the shutdown.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.shutdown.stopping_token().run_until_cancelled_owned(work));
    }

    async fn check_forever<C, F>(&self, name: &'static str, check: impl Fn() -> C)
    where
        C: Future<Output = Result<(), F>>,
    {
        loop {
            let started = Instant::now();
            let status = match tokio::time::timeout(self.checks.timeout, check()).await {
                Ok(Ok(())) => Status::Ready,
                Ok(Err(_)) | Err(_) => Status::Degraded,
            };
            self.set(name, status, started.elapsed());
            tokio::time::sleep(self.checks.pause).await;
        }
    }

    fn set(&self, name: &'static str, status: Status, took: Duration) {
        let mut dependencies = self.dependencies.lock();
        let Some(dependency) = dependencies.iter_mut().find(|dependency| dependency.name == name) else { return };
        if (dependency.status == Status::Ready) != (status == Status::Ready) {
            tracing::warn!(dependency = name, ?status, "the state of a dependency has changed");
        }
        dependency.status = status;
        dependency.latency_ms = took.as_micros() as f64 / 1000.0;
        self.up.with_label_values(&[name]).set(i64::from(status == Status::Ready));
    }
}

/// Returns how long the successful attempt took.
async fn prepare_when_up<P, E>(name: &str, prepare: impl Fn() -> P) -> Result<Duration, Error>
where
    P: Future<Output = Result<(), E>>,
    E: Into<Error>,
{
    let forever = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let attempt = || {
        let started = Instant::now();
        prepare().map(move |prepared| prepared.map(|()| started.elapsed()).map_err(Into::into))
    };
    attempt
        .retry(forever)
        .when(|e: &Error| matches!(e, Error::Unavailable { .. }))
        .notify(|e, _| tracing::warn!(error = %e, "{name} is not prepared yet"))
        .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Status::*;
    use super::*;

    /// A store that a test takes away and brings back.
    #[derive(Clone, Default)]
    struct Store(Arc<AtomicBool>);

    impl Store {
        fn set_up(&self, up: bool) {
            self.0.store(up, Ordering::Relaxed);
        }

        async fn answer(self) -> Result<(), Error> {
            self.0.load(Ordering::Relaxed).then_some(()).ok_or_else(|| Error::unavailable("store", "away"))
        }
    }

    fn health() -> (Health, Shutdown) {
        let shutdown = Shutdown::new();
        let health = Health::new(shutdown.clone(), &Metrics::new("test", "1").unwrap()).unwrap();
        let checks = Checks { timeout: Duration::from_millis(50), pause: Duration::from_millis(5) };
        (Health { checks, ..health }, shutdown)
    }

    /// Whether the process is ready, its status, and the status of each dependency.
    fn statuses(health: &Health) -> (bool, Status, Vec<Status>) {
        let report = health.report();
        (report.ready(), report.status, report.dependencies.iter().map(|each| each.status).collect())
    }

    async fn until(health: &Health, expected: (bool, Status, Vec<Status>)) {
        let reached = async {
            while statuses(health) != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .unwrap_or_else(|_| panic!("{:?}", statuses(health)));
    }

    #[tokio::test]
    async fn a_required_store_that_goes_away_later_leaves_the_process_ready() {
        let (health, shutdown) = health();
        let store = Store::default();
        let (prepared, checked) = (store.clone(), store.clone());
        health.prepare("mysql", move || prepared.clone().answer(), move || checked.clone().answer());
        let up = health.up.with_label_values(&["mysql"]);

        assert_eq!((statuses(&health), up.get()), ((false, Unavailable, vec![Unavailable]), 0));
        store.set_up(true);
        until(&health, (true, Ready, vec![Ready])).await;
        assert_eq!(up.get(), 1);
        store.set_up(false);
        until(&health, (true, Degraded, vec![Degraded])).await;
        assert_eq!(up.get(), 0);
        shutdown.stop(Duration::ZERO).await;
        assert_eq!(statuses(&health), (false, Draining, vec![Degraded]));
    }

    #[tokio::test]
    async fn a_store_that_hangs_is_degraded_and_hides_no_other() {
        let (health, _shutdown) = health();
        health.watch("redis", || std::future::ready(Ok::<_, Error>(())));
        health.watch("kafka", std::future::pending::<Result<(), Error>>);

        until(&health, (true, Degraded, vec![Ready, Degraded])).await;
        // The check that hangs has ended by then.
        tokio::time::sleep(health.checks.timeout * 2).await;

        assert_eq!(statuses(&health), (true, Degraded, vec![Ready, Degraded]));
    }
}
