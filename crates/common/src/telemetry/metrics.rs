//! The metrics that every service has, and the registry to which it adds its own.

use std::time::Duration;

use axum::http::Method;
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds; the boards and alerts ask for 0.1, 0.5 and 1.
const LATENCY_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// One registry per process (and one per service in a test).
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    service: &'static str,
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl Metrics {
    pub fn new(service: &'static str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let requests = Opts::new("http_requests_total", "HTTP requests answered");
        let requests = IntCounterVec::new(requests, &["service", "method", "path", "handler", "status"])?;
        let durations = HistogramOpts::new("http_request_duration_seconds", "Time from request to answer")
            .buckets(LATENCY_BUCKETS.to_vec());
        let durations = HistogramVec::new(durations, &["service", "method", "path"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Self { registry, service, requests, durations })
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram of seconds.
    pub fn durations(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// Counts an answered request. `route` is a template, never a raw path.
    pub(crate) fn request(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let (handler, status) =
            (if route.starts_with('/') { format!("/api{route}") } else { route.to_owned() }, status.to_string());
        self.requests.with_label_values(&[self.service, method.as_str(), route, &handler, &status]).inc();
        self.durations.with_label_values(&[self.service, method.as_str(), route]).observe(took.as_secs_f64());
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
