//! The gateway's server: plugins, routes and upstreams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, Version, header};
use axum::response::Response;
use axum::{Router, middleware};
use common::input::{MAX_BODY_BYTES, MAX_DISCARDED_BYTES};
use tokio::net::TcpListener;
use tower::util::option_layer;

use super::config::{Config, OwnLimit, Plugin, RoutePlugin, Termination};
use super::headers;
use super::limit::{LimitKey, RateLimits};
use super::proxy::{Upstream, with_path};
use super::response::message;
use super::route::{Routes, normalize};
use crate::options::GatewayOptions;

pub async fn serve(options: GatewayOptions) -> Result<()> {
    let config = Config::load(&options.config)?;
    let router = router(&config, options.upstream.into_iter().collect(), options.rate_limit)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

struct Gateway {
    routes: Routes<Routed>,
    limits: Option<RateLimits>,
}

/// The methods of a route, its own limit and its target.
#[derive(Clone)]
pub(super) struct Routed {
    methods: Vec<Method>,
    limits: Option<Arc<RateLimits>>,
    target: Target,
}

#[derive(Clone)]
enum Target {
    Upstream { upstream: Upstream, strip_path: bool },
    Termination(Termination),
}

pub(super) fn router(config: &Config, replicas: HashMap<String, Vec<String>>, rate_limited: bool) -> Result<Router> {
    let mut limits = None;
    let (mut cors, mut log, mut request_id) = (None, false, None);
    for plugin in &config.plugins {
        match plugin {
            Plugin::Cors(plugin) => cors = Some(headers::cors(plugin)?),
            Plugin::RateLimiting(plugin) => limits = rate_limited.then(|| RateLimits::new(plugin)),
            Plugin::CorrelationId(plugin) => request_id = Some(headers::RequestId::new(plugin)?),
            Plugin::FileLog(_) => log = true,
            Plugin::Prometheus(_) | Plugin::PreFunction(_) => {}
        }
    }
    let gateway = Gateway { routes: routes(config, replicas)?, limits };
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::new(gateway))
        .layer(option_layer(cors))
        .layer(option_layer(log.then(|| middleware::from_fn(headers::log))))
        // The outermost layer, so that the log contains the id.
        .layer(option_layer(request_id.map(|id| middleware::from_fn_with_state(id, headers::request_id))));
    Ok(router)
}

pub(super) fn routes(config: &Config, mut replicas: HashMap<String, Vec<String>>) -> Result<Routes<Routed>> {
    let mut paths = Vec::new();
    for service in &config.services {
        let host = service.host()?;
        let urls = replicas.remove(&host).with_context(|| format!("{}: no replica of {host}", service.name))?;
        let upstream = Upstream::new(service, urls);
        for route in &service.routes {
            let target = Target::Upstream { upstream: upstream.clone(), strip_path: route.strip_path };
            let own = route.plugins.first().map(|OwnLimit::RateLimiting(plugin)| Arc::new(RateLimits::new(plugin)));
            let target = Routed { methods: methods(&route.methods)?, limits: own, target };
            paths.extend(route.paths.iter().map(|path| (path.clone(), target.clone())));
        }
    }
    for route in &config.routes {
        for RoutePlugin::RequestTermination(termination) in &route.plugins {
            let target = Target::Termination(termination.clone());
            let target = Routed { methods: methods(&route.methods)?, limits: None, target };
            paths.extend(route.paths.iter().map(|path| (path.clone(), target.clone())));
        }
    }
    Routes::new(paths)
}

fn methods(names: &[String]) -> Result<Vec<Method>> {
    names.iter().map(|name| name.parse().with_context(|| format!("methods: {name}"))).collect()
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if let Some(refused) = refuse(&request) {
        return refused;
    }
    let path = normalize(request.uri().path()).into_owned();
    let Some(found) = gateway.routes.find(&path, |routed| routed.methods.contains(request.method())) else {
        return message(StatusCode::NOT_FOUND, "no Route matched with those values");
    };
    let limits = gateway.limits.as_ref().map(|limits| found.target.limits.as_deref().unwrap_or(limits));
    let key = LimitKey::of(client.ip(), &path, request.headers());
    let decision = limits.map(|limits| limits.check(key));
    let mut response = match (&decision, &found.target.target) {
        (Some(decision), _) if !decision.allowed => message(StatusCode::TOO_MANY_REQUESTS, "API rate limit exceeded"),
        (_, Target::Termination(termination)) => terminate(termination),
        (_, Target::Upstream { upstream, strip_path }) => {
            let path = if *strip_path { strip(&path, found.matched) } else { path };
            match with_path(request, &path) {
                Ok(request) => match buffer(request).await {
                    Some(request) => upstream.forward(request).await,
                    None => too_large(),
                },
                Err(_) => bad_request(),
            }
        }
    };
    if let Some(decision) = decision {
        response.headers_mut().extend(decision.headers);
    }
    response
}

/// The answers of nginx to requests that it does not pass to Kong's routes.
fn refuse(request: &Request) -> Option<Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(bad_request());
    }
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    // A client that expects `100 Continue` has not sent the body yet. The first poll would ask for it.
    let waits = request.headers().contains_key(header::EXPECT);
    (announced > MAX_DISCARDED_BYTES || (announced > MAX_BODY_BYTES && waits)).then(too_large)
}

/// Reads the body before the request is forwarded, as Kong does. None if it is too large.
async fn buffer(request: Request) -> Option<Request> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_DISCARDED_BYTES).await.ok().filter(|body| body.len() <= MAX_BODY_BYTES)?;
    parts.headers.remove(header::EXPECT);
    Some(Request::from_parts(parts, Body::from(body)))
}

fn bad_request() -> Response {
    message(StatusCode::BAD_REQUEST, "Bad request")
}

fn too_large() -> Response {
    message(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
}

fn strip(path: &str, matched: usize) -> String {
    let rest = &path[matched..];
    if rest.starts_with('/') { rest.into() } else { format!("/{rest}") }
}

fn terminate(termination: &Termination) -> Response {
    let status = StatusCode::from_u16(termination.status_code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    message(status, &termination.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_path_begins_with_a_slash() {
        assert_eq!(strip("/api/users/7", 4), "/users/7");
        assert_eq!(strip("/api", 4), "/");
        assert_eq!(strip("/api/", 5), "/");
    }
}
