//! The metrics that every service has, and the registry to which a service adds its own. docs/metrics.md lists all.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::pools::{PoolSize, Pools};

/// Upper bounds in seconds. The dashboards and alerts need 0.1, 0.5 and 1.
const LATENCY_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds in seconds. A point select takes 0.2 ms.
const QUERY_BUCKETS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The registry of a process, or of a service in a test. Every series has the label `service`. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    connections_refused: IntCounter,
    certificate_expiry: IntGauge,
    queries: HistogramVec,
    caches: IntCounterVec,
    pools: Pools,
    outbox_pending: IntGaugeVec,
    outbox_oldest_age: GaugeVec,
}

impl Metrics {
    /// Registers the metrics that every service has.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered.
    pub fn new(service: &str, version: &str) -> prometheus::Result<Self> {
        let registry = Registry::new_custom(None, Some(HashMap::from([("service".into(), service.into())])))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let build =
            gauges(&registry, "service_build_info", "1, with the version and build profile", &["version", "profile"])?;
        build.with_label_values(&[version, profile]).set(1);
        let oldest_age = Opts::new("outbox_oldest_age_seconds", "Age of the oldest event that is not yet published");
        Ok(Self {
            requests: counters(
                &registry,
                "http_requests_total",
                "HTTP requests answered",
                &["method", "path", "handler", "status"],
            )?,
            durations: seconds(
                &registry,
                "http_request_duration_seconds",
                "Duration from request to answer",
                &["method", "path"],
                &LATENCY_BUCKETS,
            )?,
            connections_refused: added(
                &registry,
                IntCounter::new(
                    "http_connections_refused_total",
                    "Connections closed at the limit of open connections",
                )?,
            )?,
            certificate_expiry: added(
                &registry,
                IntGauge::new(
                    "tls_certificate_expiry_timestamp_seconds",
                    "Time at which the certificate of this server expires, 0 without one",
                )?,
            )?,
            queries: seconds(
                &registry,
                "store_query_duration_seconds",
                "Duration of a command to a store",
                &["store", "operation"],
                &QUERY_BUCKETS,
            )?,
            caches: counters(&registry, "cache_requests_total", "Look-ups by outcome", &["cache", "outcome"])?,
            pools: added(&registry, Pools::new()?)?,
            outbox_pending: gauges(
                &registry,
                "outbox_pending",
                "Committed events that are not yet published",
                &["outbox"],
            )?,
            outbox_oldest_age: added(&registry, GaugeVec::new(oldest_age, &["outbox"])?)?,
            registry,
        })
    }

    /// The registry, for metrics of other libraries.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers a counter.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        added(&self.registry, IntCounter::new(name, help)?)
    }

    /// Registers a counter with labels.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        counters(&self.registry, name, help, labels)
    }

    /// Registers a gauge.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        added(&self.registry, IntGauge::new(name, help)?)
    }

    /// Registers a gauge with labels.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        gauges(&self.registry, name, help, labels)
    }

    /// Registers a gauge whose value `read` returns at each scrape.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn gauge_of(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        self.registry.register(Box::new(AtScrape { gauge: IntGauge::new(name, help)?, read }))
    }

    /// Registers a histogram of seconds, from 1 ms to 10 s.
    ///
    /// # Errors
    /// Returns an error if the name is taken or invalid.
    pub fn durations(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        seconds(&self.registry, name, help, labels, &LATENCY_BUCKETS)
    }

    /// The durations of one store's commands.
    pub fn queries(&self, store: &'static str) -> Queries {
        Queries { store, durations: self.queries.clone() }
    }

    /// The hits and misses of a cache, from zero.
    pub fn cache(&self, name: &'static str) -> Cache {
        let counter = |outcome| self.caches.with_label_values(&[name, outcome]);
        Cache { hits: counter("hit"), misses: counter("miss") }
    }

    /// Adds a pool of connections whose size `read` returns at each scrape.
    pub fn pool(&self, store: &'static str, read: impl Fn() -> PoolSize + Send + Sync + 'static) {
        self.pools.add(store, Box::new(read));
    }

    /// Sets the number of events in an outbox that are not yet published, and the age of the oldest.
    pub fn outbox(&self, outbox: &str, pending: u64, oldest_age: Duration) {
        self.outbox_pending.with_label_values(&[outbox]).set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.outbox_oldest_age.with_label_values(&[outbox]).set(oldest_age.as_secs_f64());
    }

    /// Records an answered request. `method` is from a closed set, and `route` is a template, never a raw path.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (handler, status) =
            (if route.starts_with('/') { format!("/api{route}") } else { route.to_owned() }, status.to_string());
        self.requests.with_label_values(&[method, route, &handler, &status]).inc();
        self.durations.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// Records the end of the server's certificate, in seconds since 1970.
    pub(crate) fn certificate_expires(&self, at: i64) {
        self.certificate_expiry.set(at);
    }

    /// Counts a connection that was closed because too many are open.
    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// The text that Prometheus scrapes.
    ///
    /// # Errors
    /// Returns an error if a collector produced invalid metrics.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    added(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    added(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    added(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
}

fn added<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Records the durations of one store's commands.
#[derive(Clone)]
pub struct Queries {
    store: &'static str,
    durations: HistogramVec,
}

impl Queries {
    /// Records a command. `operation` becomes a label and has few values.
    pub fn took(&self, operation: &str, time: Duration) {
        self.durations.with_label_values(&[self.store, operation]).observe(time.as_secs_f64());
    }
}

/// Counts the hits and misses of a cache.
#[derive(Clone)]
pub struct Cache {
    hits: IntCounter,
    misses: IntCounter,
}

impl Cache {
    /// Counts a look-up.
    pub fn looked_up(&self, hit: bool) {
        if hit { self.hits.inc() } else { self.misses.inc() }
    }

    /// Counts several look-ups.
    pub fn looked_up_many(&self, hits: usize, misses: usize) {
        self.hits.inc_by(hits as u64);
        self.misses.inc_by(misses as u64);
    }
}

struct AtScrape<F> {
    gauge: IntGauge,
    read: F,
}

impl<F: Fn() -> i64 + Send + Sync> Collector for AtScrape<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set((self.read)());
        self.gauge.collect()
    }
}
