//! The export of spans by HTTPS.

use std::time::Duration;

use axum::body::Bytes;
use axum::routing::post;
use common::config::Env;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tracing_subscriber::layer::SubscriberExt;
use utoipa_axum::router::OpenApiRouter;

use super::{Telemetry, trace};
use crate::config::OtlpConfig;
use crate::http::CallTls;
use crate::http::tests::start;
use crate::http::tls_tests::Files;

const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// Starts a collector, which passes on the bodies that it receives, and returns its URL.
async fn collector(files: &Files) -> (String, UnboundedReceiver<Bytes>) {
    let (received, bodies) = mpsc::unbounded_channel();
    let collect = move |body: Bytes| async move { _ = received.send(body) };
    let to = start(files.platform(&[]), OpenApiRouter::new().route("/v1/traces", post(collect))).await;
    (format!("https://{to}"), bodies)
}

/// Ends a span, and waits until it is exported or the export has failed.
async fn export_a_span(endpoint: &str, authority: &Files) {
    let tls = CallTls::read(&Env::of([(CA, authority.path("certificate"))]), CA).unwrap();
    let to = OtlpConfig { endpoint: endpoint.to_owned(), tls, timeout: Duration::from_secs(10) };
    let provider = trace::provider("a-service", "1", &to).unwrap();
    let subscriber = tracing_subscriber::registry().with(trace::layer(&provider));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!(target: trace::TARGET, "a request").in_scope(|| ())
    });
    Telemetry { traces: Some(provider) }.flush().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_a_collector_by_https_if_its_authority_is_known() {
    let (known, other) = (Files::new("otlp-known"), Files::new("otlp-other"));
    known.write(2100);
    other.write(2100);
    let (url, mut bodies) = collector(&known).await;

    export_a_span(&url, &other).await;
    assert!(bodies.try_recv().is_err(), "the collector is not trusted");

    export_a_span(&url, &known).await;
    let body = bodies.try_recv().expect("the span was exported before the end");
    assert!(body.windows(9).any(|part| part == b"a request"));
}
