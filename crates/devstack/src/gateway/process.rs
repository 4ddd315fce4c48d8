//! The gateway as a process of the stack.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::config::PATH;
use crate::build::{Binaries, DEVSTACK};
use crate::environment::urls;
use crate::layer::{GATEWAY, WEB};
use crate::options::Switch;
use crate::process::{Launch, listens};
use crate::process_supervisor::ProcessSpec;
use crate::service::Service;
use crate::stack::Stack;

pub async fn start(stack: &Stack, binaries: &Binaries) -> Result<()> {
    let plan = &stack.plan;
    let port = plan.ports.gateway;
    let program = binaries.get(DEVSTACK).context("devstack was not built")?;
    let services = Service::ALL.map(|service| (service.name(), urls(plan, service).join(",")));
    let web = (WEB, format!("http://127.0.0.1:{}", plan.ports.web));
    let upstreams = services.into_iter().chain([web]).map(|(host, urls)| format!("--upstream={host}={urls}"));
    let launch = Launch::new(program, &plan.dir.root)
        .args(["gateway", "--config", PATH, "--port", &port.to_string()])
        .args((plan.options.rate_limit == Switch::On).then_some("--rate-limit"))
        .args(upstreams);
    let spec = ProcessSpec {
        name: GATEWAY.into(),
        port,
        launch,
        log: plan.dir.log(GATEWAY),
        probe: Arc::new(move || Box::pin(listens(port))),
        grace: Duration::from_secs(1),
    };
    stack.start(spec).await
}
