//! The layers around every request: its id, log line, metrics, span, error body and path.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::error::{Error, Result};
use common::request_id;
use tower_http::request_id::RequestId;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::context::{Context, within};
use crate::http::body::BodyTimeout;
use crate::http::envelope;
use crate::platform::Platform;
use crate::task::run_detached;
use crate::telemetry::trace;

/// A slower request is logged. The alert on latency uses the same time.
const SLOW: Duration = Duration::from_secs(1);

/// A longer target, path and query, is rejected with 414. The longest legitimate one, 100 ids of users, has 2 KB.
const MAX_URI_BYTES: usize = 8 * 1024;

/// A larger header is rejected with 431. Gateways allow no more, and a browser sends all cookies of a host.
pub(super) const MAX_HEADER_BYTES: usize = 32 * 1024;

/// How long browsers use HTTPS only, after an answer over HTTPS: a year, in seconds.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Limits the warning about hidden clients to one of a process.
static HIDDEN_CLIENT: Once = Once::new();

/// Limits the warning about an ignored proxy to one of a process.
static IGNORED_PROXY: Once = Once::new();

/// Completes a request, even if its client disconnects meanwhile.
pub(super) async fn complete(request: Request, next: Next) -> Response {
    run_detached(next.run(request)).await
}

/// Removes a request id that is not accepted from clients; the next layer generates one.
pub(super) fn remove_unsafe_request_id<B>(mut request: Request<B>) -> Request<B> {
    let given = request.headers().get(trace::REQUEST_ID);
    if given.is_some_and(|id| !request_id::is_safe(id.as_bytes())) {
        request.headers_mut().remove(trace::REQUEST_ID);
    }
    request
}

/// Runs a request in its span and context, writes the body of an error answer, and counts the request.
pub(super) async fn observe(State(platform): State<Platform>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id: Arc<str> = id.unwrap_or_default().into();
    let method = method_of(request.method());
    let route = route_of(request.extensions().get::<MatchedPath>()).to_owned();
    let (trace_span, traceparent) = trace::serve(trace_span(method, &route), request.headers());
    let span = tracing::info_span!(
        "request",
        request_id = &*id,
        trace_id = traceparent.as_deref().map(trace::id),
        method,
        route,
        user_id = Empty,
        user = Empty,
    );
    let connection = Connection::of(&request, &platform);
    if connection.is_hidden {
        HIDDEN_CLIENT.call_once(|| {
            tracing::warn!(
                "the address of a client is that of a trusted proxy: a load balancer hides clients, who share their limits"
            );
        });
    }
    if connection.is_ignored {
        IGNORED_PROXY.call_once(|| {
            tracing::warn!(
                "X-Forwarded-For is ignored, because its sender is not in TRUSTED_PROXIES: if it is the gateway, all \
                 users share the limits of one address"
            );
        });
    }
    request.extensions_mut().insert(ClientAddress(connection.client));
    request.extensions_mut().insert(BodyTimeout(platform.config.connections.body));

    let context = Context { request_id: id.clone(), traceparent, client_address: connection.client };
    let answered = async {
        match check_head(&request) {
            Ok(()) => next.run(request).await,
            Err(refused) => refused.into_response(),
        }
    };
    let answered = within(context, answered).instrument(span.clone());
    let response = answered.instrument(trace_span.clone()).await;
    let mut response = span.in_scope(|| envelope::write(response, platform.service.refusals, &id));
    protect(response.headers_mut(), connection.https);

    let (status, took) = (response.status().as_u16(), started.elapsed());
    platform.metrics.request(method, &route, status, took);
    span.in_scope(|| log(status, took));
    end(&trace_span, status);
    if platform.shutdown.draining() {
        // Clients on persistent connections move to another replica before this one closes.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The method for metrics, logs and traces. All unknown methods count as one, so that clients cannot add series.
fn method_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The template of the route, for metrics and logs; never the raw path.
fn route_of(matched: Option<&MatchedPath>) -> &str {
    matched.map_or("unmatched", MatchedPath::as_str)
}

fn trace_span(method: &str, route: &str) -> Span {
    tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
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

/// Failures are logged as warnings and successes for debugging only, because metrics count them.
fn log(status: u16, took: Duration) {
    let latency_ms = took.as_micros() as f64 / 1000.0;
    match status {
        500.. => tracing::warn!(status, latency_ms, "request failed"),
        400.. => tracing::info!(status, latency_ms, "request refused"),
        _ if took > SLOW => tracing::info!(status, latency_ms, "request slow"),
        _ => tracing::debug!(status, latency_ms, "request"),
    }
}

/// Refuses a request whose target or header is too large, or whose host is missing or ambiguous (RFC 9112, section 3.2).
fn check_head(request: &Request) -> Result<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_URI_BYTES {
        return Err(Error::refused(StatusCode::URI_TOO_LONG, "uri_too_long", "Request URI is too long"));
    }
    let header: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header > MAX_HEADER_BYTES {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Error::refused(status, "request_header_fields_too_large", "Request header is too large"));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Error::business("Request must have exactly one Host header"));
    }
    Ok(())
}

/// Tells browsers not to store the answer, which may have tokens and personal data, not to guess its type, not to show it
/// in a frame, and not to send its address to other sites. A handler may set another `Cache-Control`.
fn protect(headers: &mut HeaderMap, https: bool) {
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// The address of the client: the peer, or the address that a trusted proxy reports. None without a peer address.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<IpAddr>);

/// The connection of the client, which may end at a proxy.
struct Connection {
    client: Option<IpAddr>,
    /// Whether a proxy reports another proxy as the client: a load balancer before them translates the addresses of clients.
    is_hidden: bool,
    /// Whether the peer reports hops and is no trusted proxy: a client, or a gateway that the operator did not name.
    is_ignored: bool,
    /// Whether the client speaks HTTPS, as a trusted proxy reports or as this server does.
    https: bool,
}

impl Connection {
    fn of(request: &Request, platform: &Platform) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let trusted = |ip: &IpAddr| platform.config.trusted_proxies.iter().any(|network| network.contains(ip));
        let lines = request.headers().get_all("x-forwarded-for").iter();
        let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        let client = peer.map(|peer| nearest_untrusted(peer, &lines.join(","), trusted));
        let is_hidden = is_hidden(client, &lines, trusted);
        let is_ignored = is_ignored(peer, &lines, trusted);
        let reported = request.headers().get("x-forwarded-proto").filter(|_| peer.is_some_and(|peer| trusted(&peer)));
        let https = reported.map_or(platform.config.tls.is_some(), |scheme| scheme == "https");
        Self { client, is_hidden, is_ignored, https }
    }
}

/// Whether the client is a trusted proxy although a proxy reports hops. Services and probes call without the header.
fn is_hidden(client: Option<IpAddr>, forwarded: &[&str], trusted: impl Fn(&IpAddr) -> bool) -> bool {
    !forwarded.is_empty() && client.is_some_and(|client| trusted(&client))
}

/// Whether hops are ignored, because the peer that reports them is no trusted proxy.
fn is_ignored(peer: Option<IpAddr>, forwarded: &[&str], trusted: impl Fn(&IpAddr) -> bool) -> bool {
    !forwarded.is_empty() && peer.is_some_and(|peer| !trusted(&peer))
}

/// Follows the hops of `X-Forwarded-For` from the peer towards the client while they are trusted proxies. A hop that is
/// not readable ends the walk, because the client may have written it and everything left of it. The header `Forwarded`
/// is ignored: no proxy of this system writes it, so a client would have.
fn nearest_untrusted(peer: IpAddr, forwarded: &str, trusted: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer;
    for hop in forwarded.rsplit(',') {
        if !trusted(&nearest) {
            break;
        }
        let Some(address) = hop_address(hop.trim()) else { break };
        nearest = address;
    }
    nearest
}

/// The address of a hop, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse().ok().map(|address: SocketAddr| address.ip());
    // A proxy with a dual-stack socket may report an IPv4 address in the form of an IPv6 address.
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Rewrites `/api/x/` to `/x`, so that each route has one path.
pub(super) fn normalize_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let short = match path.strip_prefix("/api") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    };
    let short = short.trim_end_matches('/');
    let short = if short.is_empty() { "/" } else { short };
    // Swagger UI serves its page at /docs/ and redirects to it.
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

    fn client(forwarded: &str) -> String {
        let trusted = |ip: &IpAddr| ip.to_string().starts_with("10.");
        nearest_untrusted("10.0.0.1".parse().unwrap(), forwarded, trusted).to_string()
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_not_a_trusted_proxy() {
        assert_eq!(client(""), "10.0.0.1");
        assert_eq!(client("203.0.113.9"), "203.0.113.9");
        assert_eq!(client("198.51.100.7, 203.0.113.9, 10.0.0.2"), "203.0.113.9");
        assert_eq!(client("203.0.113.9:4711, 10.0.0.2:80"), "203.0.113.9");
        assert_eq!(client("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(client("203.0.113.9, ::ffff:10.0.0.2"), "203.0.113.9");
        assert_eq!((client("2001:db8::1"), client("[2001:db8::1]")), ("2001:db8::1".into(), "2001:db8::1".into()));
    }

    #[test]
    fn an_unreadable_hop_hides_the_hops_before_it() {
        assert_eq!(client("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(client("203.0.113.9, , 10.0.0.2"), "10.0.0.2");
        assert_eq!(client("203.0.113.9, 10.0.0.2, x"), "10.0.0.1");
    }

    #[test]
    fn a_client_behind_a_load_balancer_that_translates_addresses_is_hidden() {
        let trusted = |ip: &IpAddr| ip.to_string().starts_with("10.");
        let hidden = |forwarded: &str| {
            let client = nearest_untrusted("10.0.0.1".parse().unwrap(), forwarded, trusted);
            is_hidden(Some(client), &[forwarded], trusted)
        };
        assert!(hidden("10.0.0.9") && hidden("10.0.0.9, 10.0.0.2") && hidden("203.0.113.9, unknown, 10.0.0.2"));
        assert!(!hidden("203.0.113.9") && !hidden("10.7.7.7, 203.0.113.9, 10.0.0.2"));
        assert!(!is_hidden("10.0.0.1".parse().ok(), &[], trusted), "a call of another service");
    }

    #[test]
    fn the_hops_of_a_peer_that_is_no_trusted_proxy_are_ignored() {
        let trusted = |ip: &IpAddr| ip.to_string().starts_with("10.");
        let ignored = |peer: &str, forwarded: &[&str]| is_ignored(peer.parse().ok(), forwarded, trusted);
        assert!(ignored("172.18.0.5", &["203.0.113.9"]));
        assert!(!ignored("10.0.0.1", &["203.0.113.9"]) && !ignored("172.18.0.5", &[]));
    }

    fn normalized(uri: &str) -> String {
        normalize_path(Request::builder().uri(uri).body(Body::empty()).unwrap()).uri().to_string()
    }

    #[test]
    fn paths_are_normalized() {
        assert_eq!(normalized("/api/auth/login"), "/auth/login");
        assert_eq!(normalized("/auth/login/"), "/auth/login");
        assert_eq!(normalized("/api/users/search/?query=%25&limit=1"), "/users/search?query=%25&limit=1");
        assert_eq!(normalized("/apiary"), "/apiary");
        assert_eq!(normalized("/api"), "/");
        assert_eq!(normalized("/"), "/");
        assert_eq!(normalized("/docs/"), "/docs/");
    }
}
