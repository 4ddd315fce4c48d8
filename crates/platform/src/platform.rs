//! The parts of a process that all of its code shares.

use std::sync::Arc;

use crate::config::Base;
use crate::health::Health;
use crate::identity::Service;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// Identity, configuration, metrics, health and shutdown: one per process, and one per service in a test. Clones share
/// it.
#[derive(Clone)]
pub struct Platform {
    /// The service of this process.
    pub service: Service,
    /// The configuration that all services read.
    pub config: Arc<Base>,
    /// The metrics that `/metrics` renders.
    pub metrics: Metrics,
    /// The checks of `/health/ready`.
    pub health: Health,
    /// The shutdown of the process.
    pub shutdown: Shutdown,
}

impl Platform {
    /// A platform whose shutdown has not begun.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered.
    pub fn new(service: Service, config: Base) -> Result<Self, prometheus::Error> {
        let shutdown = Shutdown::new();
        let metrics = Metrics::new(service.name, &config.version)?;
        Ok(Self { service, config: Arc::new(config), metrics, health: Health::new(shutdown.clone()), shutdown })
    }
}
