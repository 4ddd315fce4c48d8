//! The durations of MySQL statements. sqlx offers no hook except the event by which it logs each statement.

use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Queries;

/// The target of these events; `engines::mysql::pool` sets their level.
const TARGET: &str = "sqlx::query";

/// The first words of statements that are measured separately.
const OPERATIONS: [&str; 6] = ["select", "insert", "update", "delete", "set", "commit"];

pub(super) fn layer<S>(queries: Queries) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Statements(queries).with_filter(Targets::new().with_target(TARGET, Level::DEBUG))
}

struct Statements(Queries);

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        if let Some(took) = statement.took {
            self.0.took(statement.operation, took);
        }
    }
}

struct Statement {
    operation: &'static str,
    took: Option<Duration>,
}

impl Default for Statement {
    fn default() -> Self {
        Self { operation: "other", took: None }
    }
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            let word = value.split_whitespace().next().unwrap_or_default();
            let known = OPERATIONS.into_iter().find(|operation| operation.eq_ignore_ascii_case(word));
            self.operation = known.unwrap_or("other");
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.took = Duration::try_from_secs_f64(value).ok();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_statement_is_measured_by_its_first_word() {
        let metrics = Metrics::new("user-service", "1").unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(metrics.queries("mysql")));
        tracing::subscriber::with_default(subscriber, || {
            for summary in ["SELECT id FROM users …", "(SELECT 1", "insert into x"] {
                tracing::debug!(target: "sqlx::query", summary, elapsed_secs = 0.25);
            }
        });
        let text = metrics.render().unwrap();
        for (operation, seconds) in [("select", "0.25"), ("insert", "0.25"), ("other", "0.25")] {
            let sum = format!(
                "store_query_duration_seconds_sum{{operation=\"{operation}\",store=\"mysql\",service=\"user-service\"}} {seconds}"
            );
            assert!(text.contains(&sum), "{sum} in {text}");
        }
    }
}
