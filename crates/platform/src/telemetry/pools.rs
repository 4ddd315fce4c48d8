//! The connection pools of the stores, read at each scrape.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// The connections of a pool at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSize {
    /// Open and not in use.
    pub idle: i64,
    /// In use.
    pub used: i64,
    /// The greatest number of open connections.
    pub max: i64,
}

type Read = Box<dyn Fn() -> PoolSize + Send + Sync>;

/// All pools of a process.
#[derive(Clone)]
pub(super) struct Pools {
    connections: IntGaugeVec,
    limits: IntGaugeVec,
    pools: Arc<Mutex<Vec<(&'static str, Read)>>>,
}

impl Pools {
    pub(super) fn new() -> prometheus::Result<Self> {
        let connections = Opts::new("store_pool_connections", "Open connections to a store by state");
        let limits = Opts::new("store_pool_max_connections", "The greatest number of open connections to a store");
        Ok(Self {
            connections: IntGaugeVec::new(connections, &["store", "state"])?,
            limits: IntGaugeVec::new(limits, &["store"])?,
            pools: Arc::default(),
        })
    }

    pub(super) fn add(&self, store: &'static str, read: Read) {
        self.pools.lock().push((store, read));
    }
}

impl Collector for Pools {
    fn desc(&self) -> Vec<&Desc> {
        [self.connections.desc(), self.limits.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (store, read) in self.pools.lock().iter() {
            let PoolSize { idle, used, max } = read();
            self.connections.with_label_values(&[*store, "idle"]).set(idle);
            self.connections.with_label_values(&[*store, "used"]).set(used);
            self.limits.with_label_values(&[store]).set(max);
        }
        [self.connections.collect(), self.limits.collect()].concat()
    }
}
