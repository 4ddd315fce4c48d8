//! The gateway: does what kong.yml says, as Kong would, and refuses to start on what it does not know.

mod config;
mod headers;
mod limit;
mod proxy;
mod route;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio::net::TcpListener;
use tower::util::option_layer;

use config::{Config, Plugin, RoutePlugin, Termination};
use limit::Limits;
use proxy::{Upstream, redirect};
use route::{Routes, normalize};

use crate::build::{DEVSTACK, Programs};
use crate::environment::urls;
use crate::keeper::Unit;
use crate::options::Switch;
use crate::process::{Launch, listens};
use crate::services::Service;
use crate::stack::Stack;
use crate::web;

const CONFIG: &str = "infrastructure/docker/kong/kong.yml";

#[derive(clap::Args)]
pub struct GatewayOptions {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    rate_limit: bool,
    /// Where the hosts of the file are here: `user-service=http://127.0.0.1:8005,http://…`.
    #[arg(long, value_parser = upstream)]
    upstream: Vec<(String, Vec<String>)>,
}

fn upstream(text: &str) -> Result<(String, Vec<String>)> {
    let (host, urls) = text.split_once('=').context("write it as host=url,url")?;
    Ok((host.into(), urls.split(',').map(str::to_owned).collect()))
}

/// The gateway as a process of the stack.
pub async fn start(stack: &Stack, programs: &Programs) -> Result<()> {
    let plan = &stack.plan;
    let port = plan.ports.gateway;
    let program = programs.get(DEVSTACK).context("no program for the gateway")?;
    let mut launch = Launch::new(program, &plan.place.root)
        .args(["gateway", "--config", CONFIG, "--port", &port.to_string()])
        .args((plan.options.rate_limit == Switch::On).then_some("--rate-limit"));
    for service in Service::ALL {
        launch =
            launch.args(["--upstream".to_owned(), format!("{}={}", service.name(), urls(plan, service).join(","))]);
    }
    let page = format!("{}=http://127.0.0.1:{}", web::NAME, plan.ports.web);
    let launch = launch.args(["--upstream".to_owned(), page]);
    let unit = Unit {
        name: "gateway".into(),
        port,
        launch,
        log: plan.place.log("gateway"),
        probe: Arc::new(move || Box::pin(listens(port))),
        grace: Duration::from_secs(1),
    };
    stack.start(unit).await
}

/// The gateway itself.
pub async fn serve(options: GatewayOptions) -> Result<()> {
    let config = Config::load(&options.config)?;
    let router = router(&config, options.upstream.into_iter().collect(), options.rate_limit)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

struct Gateway {
    routes: Routes<Target>,
    limits: Option<Limits>,
}

/// Where a route leads.
#[derive(Clone)]
enum Target {
    Upstream { upstream: Upstream, strip_path: bool },
    Answer(Termination),
}

fn router(config: &Config, replicas: HashMap<String, Vec<String>>, limited: bool) -> Result<Router> {
    let mut limits = None;
    let (mut cors, mut log, mut request_id) = (None, false, None);
    for plugin in &config.plugins {
        match plugin {
            Plugin::Cors(plugin) => cors = Some(headers::cors(plugin)?),
            Plugin::RateLimiting(rates) => limits = limited.then(|| Limits::new(rates.minute, rates.hour)),
            Plugin::CorrelationId(plugin) => request_id = Some(headers::RequestId::new(plugin)?),
            Plugin::FileLog(_) => log = true,
            Plugin::Prometheus(_) => {}
        }
    }
    let gateway = Gateway { routes: routes(config, replicas)?, limits };
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::new(gateway))
        .layer(option_layer(cors))
        .layer(option_layer(log.then(|| middleware::from_fn(headers::log))))
        // Around all else, so that the log has the id too.
        .layer(option_layer(request_id.map(|id| middleware::from_fn_with_state(id, headers::request_id))));
    Ok(router)
}

fn routes(config: &Config, mut replicas: HashMap<String, Vec<String>>) -> Result<Routes<Target>> {
    let mut paths = Vec::new();
    for service in &config.services {
        let host = service.host()?;
        let urls =
            replicas.remove(&host).with_context(|| format!("{}: no such service runs here: {host}", service.name))?;
        let upstream = Upstream::new(service, urls);
        for route in &service.routes {
            let target = Target::Upstream { upstream: upstream.clone(), strip_path: route.strip_path };
            paths.extend(route.paths.iter().map(|path| (path.clone(), target.clone())));
        }
    }
    for route in &config.routes {
        for RoutePlugin::RequestTermination(answer) in &route.plugins {
            paths.extend(route.paths.iter().map(|path| (path.clone(), Target::Answer(answer.clone()))));
        }
    }
    Routes::new(paths)
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let path = normalize(request.uri().path()).into_owned();
    let Some(found) = gateway.routes.find(&path) else {
        return plain(StatusCode::NOT_FOUND, "no Route matched with those values");
    };
    let verdict = gateway.limits.as_ref().map(|limits| limits.check(client.ip()));
    let mut response = match (&verdict, found.to) {
        (Some(verdict), _) if !verdict.allowed => plain(StatusCode::TOO_MANY_REQUESTS, "API rate limit exceeded"),
        (_, Target::Answer(answer)) => terminate(answer),
        (_, Target::Upstream { upstream, strip_path }) => {
            let path = if *strip_path { stripped(&path, found.matched) } else { path };
            match redirect(request, &path) {
                Ok(request) => upstream.forward(request).await,
                Err(_) => plain(StatusCode::BAD_REQUEST, "Bad request"),
            }
        }
    };
    if let Some(verdict) = verdict {
        response.headers_mut().extend(verdict.headers);
    }
    response
}

fn stripped(path: &str, matched: usize) -> String {
    let rest = &path[matched..];
    if rest.starts_with('/') { rest.into() } else { format!("/{rest}") }
}

fn terminate(answer: &Termination) -> Response {
    let status = StatusCode::from_u16(answer.status_code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    plain(status, &answer.message)
}

/// What Kong itself says.
fn plain(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests;
