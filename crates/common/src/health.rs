//! Whether this process can do its work, one entry per dependency.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;

use crate::error::Result;
use crate::shutdown::Shutdown;

/// A dependency that does not answer within this is not ready; probes of Kubernetes wait at least as long.
const PATIENCE: Duration = Duration::from_secs(2);

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

async fn ask(name: &'static str, check: Check) -> Dependency {
    let started = Instant::now();
    let status = match tokio::time::timeout(PATIENCE, check()).await {
        Ok(Ok(())) => "ready",
        Ok(Err(_)) | Err(_) => "unavailable",
    };
    Dependency { name, status, latency_ms: started.elapsed().as_micros() as f64 / 1000.0 }
}
