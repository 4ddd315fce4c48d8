//! The metrics that only user-service has. docs/metrics.md lists them.

use platform::telemetry;
use prometheus::{Histogram, IntCounterVec, IntGauge};

#[derive(Clone)]
pub struct Metrics {
    registrations: IntCounterVec,
    logins: IntCounterVec,
    pub search_seconds: Histogram,
    pub online_users: IntGauge,
}

impl Metrics {
    pub fn register(metrics: &telemetry::Metrics) -> Result<Self, prometheus::Error> {
        let registrations = metrics.counters("user_registration_total", "Registrations", &["status"])?;
        let logins = metrics.counters("user_login_total", "Logins", &["status"])?;
        // Each series starts at 0: `rate` over a series that begins with its first event misses that event.
        for status in ["success", "failed"] {
            registrations.with_label_values(&[status]);
            logins.with_label_values(&[status]);
        }
        let searches = metrics.durations("user_search_duration_seconds", "Time of a search for people", &[])?;
        Ok(Self {
            registrations,
            logins,
            search_seconds: searches.with_label_values::<&str>(&[]),
            online_users: metrics.gauge("online_users_count", "People who are online")?,
        })
    }

    /// Counts a registration by its result.
    pub fn registered<T, E>(&self, result: &Result<T, E>) {
        self.registrations.with_label_values(&[status(result)]).inc();
    }

    /// Counts a login by its result.
    pub fn logged_in<T, E>(&self, result: &Result<T, E>) {
        self.logins.with_label_values(&[status(result)]).inc();
    }
}

fn status<T, E>(result: &Result<T, E>) -> &'static str {
    if result.is_ok() { "success" } else { "failed" }
}
