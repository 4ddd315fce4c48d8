//! The audit log of the services that a test runs.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use platform::telemetry::audit::TARGET;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A second subscriber, which gets nothing. While there is only one, `tracing` asks the thread that reaches an event first
/// whether it listens, and remembers its no for the threads of all tests.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

/// Reads the lines that services on this thread write. The test needs a runtime of one thread, and starts its services
/// on it.
pub struct AuditLog {
    lines: Lines,
    _subscribed: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Value>>>);

impl AuditLog {
    /// Records lines from now on.
    pub fn record() -> Self {
        LazyLock::force(&ANOTHER);
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        Self { lines, _subscribed: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last call, as objects with all their fields.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.lines.0.lock())
    }

    /// A line in the form `action outcome reason actor object`. A field that is missing is `-`.
    pub fn act(line: &Value) -> String {
        let field = |name| match &line[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        ["action", "outcome", "reason", "actor", "object"].map(field).join(" ")
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == TARGET {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().push(Value::Object(fields.0));
        }
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
