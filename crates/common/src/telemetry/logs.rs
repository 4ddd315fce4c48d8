//! One JSON object per line in production, readable lines in development.

use json_subscriber::JsonLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Base;

/// Starts logging to stdout; called once per process.
pub fn start(config: &Base) {
    let filter = EnvFilter::try_new(format!("{},librdkafka=warn,rdkafka=warn,hyper=warn", config.log_level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = if config.debug { tracing_subscriber::fmt::layer().boxed() } else { json().boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

fn json<S>() -> JsonLayer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let mut layer = JsonLayer::stdout();
    layer.with_timer("timestamp", tracing_subscriber::fmt::time::SystemTime);
    layer.add_dynamic_field("level", |event, _| Some(event.metadata().level().as_str().to_lowercase()));
    layer.with_target("logger");
    layer.with_flattened_event();
    layer.with_top_level_flattened_span_list();
    layer
}
