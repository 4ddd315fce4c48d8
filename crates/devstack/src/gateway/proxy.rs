//! Forwards requests to replicas and streams the responses back.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum_reverse_proxy::{BalancedProxy, ProxyError, ProxyPolicy, RetryLayer};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use super::config::KongService;
use super::response::message;

/// With this many attempts a request that one of two replicas can serve fails once in a million.
const ATTEMPTS_PER_REPLICA: usize = 10;

/// How long a connection to a replica stays open without a request, as Kong's. It is shorter than the services'
/// `HTTP_HEADER_TIMEOUT`: a request that is sent while the replica closes the connection is lost.
pub(super) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The replicas of a service, which take turns.
#[derive(Clone)]
pub struct Upstream {
    replicas: BoxCloneSyncService<Request, Response, Infallible>,
}

impl Upstream {
    pub fn new(service: &KongService, replicas: Vec<String>) -> Self {
        let policy = ProxyPolicy::new()
            .with_public_scheme("http")
            .with_upstream_timeout(Duration::from_millis(service.read_timeout));
        // A replica that does not accept the connection has not received the request, so the next one gets it: the next in turn,
        // which is the same again if another request came in between.
        let attempts = if replicas.len() == 1 { 1 } else { replicas.len() * ATTEMPTS_PER_REPLICA };
        let proxy = BalancedProxy::new_with_client("/".to_owned(), replicas, client()).with_policy(policy);
        let retried = ServiceBuilder::new().layer(RetryLayer::with_delay(attempts, Duration::ZERO)).service(proxy);
        Self { replicas: BoxCloneSyncService::new(retried) }
    }

    /// A read whose connection breaks is sent once more, as Kong does: the replica may have closed the connection as idle.
    pub async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let again = (parts.method == Method::GET).then(|| Request::from_parts(parts.clone(), Body::empty()));
        let mut response = self.send(Request::from_parts(parts, body)).await;
        if response.status() == StatusCode::BAD_GATEWAY
            && response.extensions().get::<ProxyError>().is_some()
            && let Some(again) = again
        {
            response = self.send(again).await;
        }
        if response.extensions().get::<ProxyError>().is_none() {
            return response;
        }
        match response.status() {
            StatusCode::GATEWAY_TIMEOUT => message(StatusCode::GATEWAY_TIMEOUT, "The upstream server is timing out"),
            status => message(status, "An invalid response was received from the upstream server"),
        }
    }

    async fn send(&self, request: Request) -> Response {
        match self.replicas.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE_TIMEOUT).build(connector)
}

/// The request with another path and the same query.
pub fn with_path(request: Request, path: &str) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    let mut uri = parts.uri.into_parts();
    let query = uri.path_and_query.as_ref().and_then(PathAndQuery::query);
    uri.path_and_query = Some(match query {
        Some(query) => format!("{path}?{query}").parse()?,
        None => path.parse()?,
    });
    parts.uri = Uri::from_parts(uri)?;
    Ok(Request::from_parts(parts, body))
}
