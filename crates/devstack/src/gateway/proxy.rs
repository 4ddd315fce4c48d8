//! Passes a request on to a replica and the answer back, body by body as they come.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::uri::{PathAndQuery, Uri};
use axum::response::Response;
use axum_reverse_proxy::{BalancedProxy, ProxyError, ProxyPolicy, RetryLayer};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use super::config::Service;
use super::plain;

/// A service and its replicas, which take turns.
#[derive(Clone)]
pub struct Upstream {
    replicas: BoxCloneSyncService<Request, Response, Infallible>,
}

impl Upstream {
    pub fn new(service: &Service, replicas: Vec<String>) -> Self {
        let policy = ProxyPolicy::new()
            .with_public_scheme("http")
            .with_upstream_timeout(Duration::from_millis(service.read_timeout));
        // A replica that does not even take the connection has not seen the request: the next one gets it.
        let attempts = replicas.len();
        let proxy = BalancedProxy::new("/".to_owned(), replicas).with_policy(policy);
        let retried = ServiceBuilder::new().layer(RetryLayer::with_delay(attempts, Duration::ZERO)).service(proxy);
        Self { replicas: BoxCloneSyncService::new(retried) }
    }

    pub async fn forward(&self, request: Request) -> Response {
        let response = match self.replicas.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.extensions().get::<ProxyError>().is_none() {
            return response;
        }
        match response.status() {
            StatusCode::GATEWAY_TIMEOUT => plain(StatusCode::GATEWAY_TIMEOUT, "The upstream server is timing out"),
            status => plain(status, "An invalid response was received from the upstream server"),
        }
    }
}

/// Gives the request another path; its query stays.
pub fn redirect(request: Request, path: &str) -> Result<Request> {
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
