//! The log: one JSON object per line, or readable lines for developers.

use json_subscriber::JsonLayer;
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogConfig;

/// Libraries log warnings only, and spans for traces are not logged. The audit log does not depend on the level.
const FIXED: &str = "librdkafka=warn,rdkafka=warn,hyper=warn,sqlx=warn,reqwest=warn,otel=off,audit=info";

pub(super) fn layer<S>(config: &LogConfig) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let filter = EnvFilter::new(format!("{},{FIXED}", config.level));
    let layer = if config.json { json().boxed() } else { tracing_subscriber::fmt::layer().boxed() };
    layer.with_filter(filter)
}

fn json<S>() -> JsonLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut layer = JsonLayer::stdout();
    layer.with_timer("timestamp", tracing_subscriber::fmt::time::SystemTime);
    layer.add_dynamic_field("level", |event, _| Some(event.metadata().level().as_str().to_lowercase()));
    layer.with_target("logger");
    layer.with_flattened_event();
    layer.with_top_level_flattened_span_list();
    layer
}
