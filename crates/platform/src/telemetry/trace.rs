//! Traces: the W3C context of a request, which is passed on with everything that the request causes, and the spans that
//! are exported over OTLP where an endpoint is configured.
//!
//! Only trace id, span id and the flag `sampled` of a caller's `traceparent` are passed on, as a `traceparent` of version
//! 00. Its other parts, `tracestate` and `baggage` are dropped: a client could fill headers and columns with them.
//!
//! Spans with the target [`TARGET`] are for traces alone. Without an endpoint no subscriber enables them, so they are
//! never created; the caller's context is passed on nevertheless.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use axum::http::HeaderMap;
use common::error::BoxError;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::blocking::Client;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::config::OtlpConfig;
use crate::context;

/// The target of spans that are created for traces.
pub const TARGET: &str = "otel";

/// The header of the W3C trace context, over REST and in Kafka.
pub const TRACEPARENT: &str = "traceparent";

/// The header of the request id, over REST and in Kafka.
pub const REQUEST_ID: &str = "x-request-id";

/// The request that caused a call or an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The id of the request.
    pub request_id: Option<String>,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

impl Trace {
    /// The request that the current task answers; empty in background work.
    pub fn current() -> Self {
        Self { request_id: context::request_id(), traceparent: context::traceparent() }
    }

    /// The headers that pass the request on.
    pub fn headers(&self) -> Vec<(String, String)> {
        let named = [(REQUEST_ID, &self.request_id), (TRACEPARENT, &self.traceparent)];
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}

/// Makes a span the child of the span in `parent`, a `traceparent`. Without a parent the span is discarded, so that
/// background work begins no trace.
pub fn follow(span: Span, parent: Option<&str>) -> Span {
    if span.is_disabled() {
        return span;
    }
    match parent.and_then(context_of).map(|parent| span.set_parent(parent)) {
        Some(Ok(())) => span,
        _ => Span::none(),
    }
}

/// The context of a span, to pass on; none where no spans are exported.
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    written(&span.context())
}

/// Makes the span of a request the child of its caller's span, or the first of a new trace. Returns it with the context
/// to pass on.
pub(crate) fn serve(span: Span, headers: &HeaderMap) -> (Span, Option<Arc<str>>) {
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(context_of);
    if let Some(parent) = &caller {
        // Fails where no spans are exported.
        let _ = span.set_parent(parent.clone());
    }
    let context = traceparent(&span).or_else(|| written(&caller?));
    (span, context.map(Arc::from))
}

/// The trace id in a `traceparent`, for log lines.
pub(crate) fn id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

fn context_of(traceparent: &str) -> Option<Context> {
    let headers = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    context.span().span_context().is_valid().then_some(context)
}

/// The `traceparent` of a context, of 55 bytes; none of an invalid one.
fn written(context: &Context) -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut headers);
    headers.remove(TRACEPARENT)
}

pub(super) fn provider(service: &'static str, version: &str, to: &OtlpConfig) -> Result<SdkTracerProvider, BoxError> {
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let exporter = exporter.with_endpoint(format!("{}/v1/traces", to.endpoint)).with_http_client(client(to)?);
    let version = KeyValue::new("service.version", version.to_owned());
    let resource = Resource::builder().with_service_name(service).with_attribute(version).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter.build()?).with_resource(resource).build())
}

/// The client of the exporter, which runs in a thread of its own. A blocking client cannot be built within the runtime.
fn client(to: &OtlpConfig) -> Result<Client, BoxError> {
    let builder = to.tls.blocking_client().timeout(to.timeout);
    let built = thread::spawn(move || builder.build()).join();
    Ok(built.map_err(|_| "the thread that builds the client of the exporter panicked")??)
}

pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("bigtech-chat"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(Targets::new().with_target(TARGET, Level::INFO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(traceparent: &str) -> HeaderMap {
        HeaderMap::from_iter([("traceparent".parse().unwrap(), traceparent.parse().unwrap())])
    }

    #[test]
    fn without_an_exporter_the_callers_context_is_passed_on() {
        let (span, context) = serve(tracing::info_span!(target: TARGET, "request"), &headers(GIVEN));
        assert_eq!((span.is_disabled(), context.as_deref()), (true, Some(GIVEN)));
        assert_eq!(id(GIVEN), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_context_is_rebuilt_from_its_parts() {
        let parts = &GIVEN[2..53];
        let more = "x".repeat(8000);
        for hostile in
            [format!("fe{parts}ff-{more}"), format!("00{parts}03"), format!("1{parts}+1-"), format!(" {GIVEN} ")]
        {
            assert_eq!(serve(Span::none(), &headers(&hostile)).1.as_deref(), Some(GIVEN), "{hostile}");
        }
    }

    #[test]
    fn an_invalid_context_is_not_passed_on() {
        for wrong in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "'; DROP TABLE"] {
            assert_eq!(serve(Span::none(), &headers(wrong)).1, None, "{wrong}");
        }
    }

    #[test]
    fn with_an_exporter_all_spans_belong_to_the_callers_trace() {
        let provider = SdkTracerProvider::builder().build();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer(&provider)), || {
            let (_span, context) = serve(tracing::info_span!(target: TARGET, "request"), &headers(GIVEN));
            let context = context.unwrap();
            assert_eq!(id(&context), id(GIVEN));
            assert_ne!(&*context, GIVEN, "the request's own span is the parent of the spans that it causes");

            let child = follow(tracing::info_span!(target: TARGET, parent: None, "child"), Some(&context));
            assert_eq!(id(&traceparent(&child).unwrap()), id(GIVEN));
            assert!(follow(tracing::info_span!(target: TARGET, parent: None, "orphan"), None).is_disabled());
        });
    }
}
