//! The plugins cors, correlation-id and file-log.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{SecondsFormat, Utc};
use serde_json::json;
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, CorsLayer};
use uuid::Uuid;

use super::config::{CorrelationId, Cors};
use crate::terminal::print;

pub fn cors(cors: &Cors) -> Result<CorsLayer> {
    let origins: Vec<HeaderValue> = parsed(&cors.origins)?;
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(parsed::<Method>(&cors.methods)?)
        .allow_headers(parsed::<HeaderName>(&cors.headers)?)
        .expose_headers(parsed::<HeaderName>(&cors.exposed_headers)?)
        .allow_credentials(cors.credentials)
        .max_age(Duration::from_secs(cors.max_age)))
}

fn parsed<T>(values: &[String]) -> Result<Vec<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    values.iter().map(|value| value.parse().with_context(|| format!("cors: {value}"))).collect()
}

/// The header of a request's id, and whether the response repeats it.
#[derive(Clone)]
pub struct RequestId {
    header: HeaderName,
    echo: bool,
}

impl RequestId {
    pub fn new(plugin: &CorrelationId) -> Result<Self> {
        let header = plugin.header_name.parse().with_context(|| format!("correlation-id: {}", plugin.header_name))?;
        Ok(Self { header, echo: plugin.echo_downstream })
    }
}

/// Keeps the id of a request if it is safe, or gives it one.
pub async fn request_id(State(plugin): State<RequestId>, mut request: Request, next: Next) -> Response {
    let id = match request.headers().get(&plugin.header) {
        Some(id) if common::request_id::is_safe(id.as_bytes()) => id.clone(),
        _ => new_id(),
    };
    request.headers_mut().insert(plugin.header.clone(), id.clone());
    let mut response = next.run(request).await;
    if plugin.echo {
        response.headers_mut().insert(plugin.header, id);
    }
    response
}

fn new_id() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("-"))
}

/// Logs one line of JSON per response. The line leaves out the query, which may contain a stream's ticket.
pub async fn log(ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let response = next.run(request).await;
    let line = json!({
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "client_ip": client.ip(),
        "method": method.as_str(),
        "path": path,
        "status": response.status().as_u16(),
        "latency_ms": started.elapsed().as_millis() as u64,
        "request_id": id,
    });
    print(&line.to_string());
    response
}
