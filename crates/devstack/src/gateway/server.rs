//! The gateway's server: plugins, routes and upstreams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tower::util::option_layer;

use super::config::{Config, Plugin, RoutePlugin, Termination};
use super::headers;
use super::limit::RateLimits;
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

/// The methods of a route and its target.
#[derive(Clone)]
pub(super) struct Routed {
    methods: Vec<Method>,
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
            Plugin::RateLimiting(plugin) => limits = rate_limited.then(|| RateLimits::new(plugin.minute, plugin.hour)),
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
            let target = Routed { methods: methods(&route.methods)?, target };
            paths.extend(route.paths.iter().map(|path| (path.clone(), target.clone())));
        }
    }
    for route in &config.routes {
        for RoutePlugin::RequestTermination(termination) in &route.plugins {
            let target = Target::Termination(termination.clone());
            let target = Routed { methods: methods(&route.methods)?, target };
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
    let path = normalize(request.uri().path()).into_owned();
    let Some(found) = gateway.routes.find(&path, |routed| routed.methods.contains(request.method())) else {
        return message(StatusCode::NOT_FOUND, "no Route matched with those values");
    };
    let decision = gateway.limits.as_ref().map(|limits| limits.check(client.ip()));
    let mut response = match (&decision, &found.target.target) {
        (Some(decision), _) if !decision.allowed => message(StatusCode::TOO_MANY_REQUESTS, "API rate limit exceeded"),
        (_, Target::Termination(termination)) => terminate(termination),
        (_, Target::Upstream { upstream, strip_path }) => {
            let path = if *strip_path { strip(&path, found.matched) } else { path };
            match with_path(request, &path) {
                Ok(request) => upstream.forward(request).await,
                Err(_) => message(StatusCode::BAD_REQUEST, "Bad request"),
            }
        }
    };
    if let Some(decision) = decision {
        response.headers_mut().extend(decision.headers);
    }
    response
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
