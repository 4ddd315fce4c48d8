//! Around every request: its id, its log line, its metrics, its path in one form.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::http::app::{Detail, route_of};
use crate::http::context::{Context, within};
use crate::platform::Platform;
use crate::task::run_detached;
use crate::telemetry::trace;

/// As the alert on latency sees it.
const SLOW: Duration = Duration::from_secs(1);

const REQUEST_ID: &str = "x-request-id";

/// Longer ids of clients are replaced, so that nobody fills our logs.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Answers a request, even if its client hangs up meanwhile.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    run_detached(next.run(request)).await
}

/// Ids the request, runs it in its span and context, and counts it.
pub(super) async fn observe(State(platform): State<Platform>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id: Arc<str> = request_id(&request).into();
    let method = request.method().clone();
    let route = route_of(request.extensions().get::<MatchedPath>()).to_owned();
    let (trace_span, traceparent) = trace::serve(trace_span(&method, &route), request.headers());
    let span = tracing::info_span!(
        "request",
        request_id = &*id,
        trace_id = traceparent.as_deref().map(trace::id),
        method = %method,
        route,
        user_id = Empty,
        user = Empty,
    );
    let client = ClientAddress::of(&request, &platform);
    request.extensions_mut().insert(client);

    let plain_refusals = platform.service.refusals == Detail::Text;
    let context = Context { request_id: id.clone(), traceparent, plain_refusals };
    let answered = within(context, next.run(request)).instrument(span.clone());
    let mut response = answered.instrument(trace_span.clone()).await;

    let (status, took) = (response.status().as_u16(), started.elapsed());
    platform.metrics.request(&method, &route, status, took);
    span.in_scope(|| log(status, took));
    end(&trace_span, status);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if platform.shutdown.draining() {
        // Clients on kept connections move to another replica before this one closes.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn trace_span(method: &Method, route: &str) -> Span {
    tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
    )
}

fn end(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "error");
    }
}

/// What went wrong is told loudly, what went well only to those who want to see everything: metrics count it.
fn log(status: u16, took: Duration) {
    let latency_ms = took.as_micros() as f64 / 1000.0;
    match status {
        500.. => tracing::warn!(status, latency_ms, "request failed"),
        400.. => tracing::info!(status, latency_ms, "request refused"),
        _ if took > SLOW => tracing::info!(status, latency_ms, "request slow"),
        _ => tracing::debug!(status, latency_ms, "request"),
    }
}

/// The client's own id where it is sane, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let sane = |id: &&str| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID_BYTES
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/#=+".contains(&b))
    };
    given.filter(sane).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Where a request comes from: the peer, or what a configured proxy says of it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<std::net::IpAddr>);

impl ClientAddress {
    fn of(request: &Request, platform: &Platform) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let trusted =
            |ip: &std::net::IpAddr| platform.config.trusted_proxies.iter().any(|network| network.contains(ip));
        if !peer.as_ref().is_some_and(trusted) {
            return Self(peer);
        }
        // The nearest hop that is no proxy of ours: everything left of it is the client's own claim.
        let forwarded = request.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let client = forwarded.rsplit(',').filter_map(|hop| hop.trim().parse().ok()).find(|ip| !trusted(ip));
        Self(client.or(peer))
    }
}

/// `/api/x/` and `/x` are one path to the routes.
pub(super) fn normalize_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let short = match path.strip_prefix("/api") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    };
    let short = short.trim_end_matches('/');
    let short = if short.is_empty() { "/" } else { short };
    // Swagger UI serves its page under /docs/ and redirects there.
    if short.len() == path.len() || path == "/docs/" {
        return request;
    }
    let short = match request.uri().query() {
        Some(query) => format!("{short}?{query}"),
        None => short.to_owned(),
    };
    if let Ok(rest) = PathAndQuery::try_from(short) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(rest);
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn normalized(uri: &str) -> String {
        normalize_path(Request::builder().uri(uri).body(Body::empty()).unwrap()).uri().to_string()
    }

    #[test]
    fn every_path_has_one_form() {
        assert_eq!(normalized("/api/auth/login"), "/auth/login");
        assert_eq!(normalized("/auth/login/"), "/auth/login");
        assert_eq!(normalized("/api/users/search/?query=%25&limit=1"), "/users/search?query=%25&limit=1");
        assert_eq!(normalized("/apiary"), "/apiary");
        assert_eq!(normalized("/api"), "/");
        assert_eq!(normalized("/"), "/");
        assert_eq!(normalized("/docs/"), "/docs/");
    }
}
