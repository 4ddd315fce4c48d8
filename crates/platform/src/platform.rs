//! The parts of a process that all of its code shares.

use std::ops::Deref;
use std::sync::Arc;

use crate::config::Base;
use crate::health::Health;
use crate::identity::Service;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// A shared handle to the parts of a process. A clone is cheap: several layers take one for every request.
#[derive(Clone)]
pub struct Platform(Arc<Parts>);

/// Identity, configuration, metrics, health and shutdown: one per process, and one per service in a test.
pub struct Parts {
    /// The service of this process.
    pub service: Service,
    /// The configuration that all services read.
    pub config: Arc<Base>,
    /// The metrics that `/metrics` renders.
    pub metrics: Metrics,
    /// The dependencies, as `/health/ready` reports them.
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
        let health = Health::new(shutdown.clone(), &metrics)?;
        Ok(Self(Arc::new(Parts { service, config: Arc::new(config), metrics, health, shutdown })))
    }
}

impl Deref for Platform {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
