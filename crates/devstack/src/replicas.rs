//! Starts the replicas of the three services.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::build::Binaries;
use crate::engines::KafkaCluster;
use crate::environment;
use crate::http_client;
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::service::Service;
use crate::stack::Stack;
use crate::terminal::print_step;

/// Creates the topics, then starts all replicas at once, with the programs `previous` if there are some: a lock in the
/// database orders their migrations.
pub async fn start(
    stack: &Stack,
    binaries: &Binaries,
    previous: Option<&Binaries>,
    kafka: &KafkaCluster,
) -> Result<()> {
    let plan = &stack.plan;
    if kafka.needs_topics {
        create_topics(plan, binaries, kafka).await?;
    }
    let mut specs = Vec::new();
    for service in Service::ALL {
        let program = program(previous.unwrap_or(binaries), service)?;
        for (index, port) in plan.ports.of(service).iter().enumerate() {
            specs.push(replica(plan, program, kafka, service, index, *port)?);
        }
    }
    stack.start_all(specs).await
}

async fn create_topics(plan: &Plan, binaries: &Binaries, kafka: &KafkaCluster) -> Result<()> {
    let started = Instant::now();
    let replication = if plan.ports.brokers.len() == 1 { "1" } else { "3" };
    let launch =
        launch(plan, program(binaries, Service::User)?, kafka, Service::User).env("KAFKA_REPLICATION", replication);
    launch.arg("topics").run(&plan.dir.log("topics")).await?;
    print_step("topics", "exist", started);
    Ok(())
}

fn program(binaries: &Binaries, service: Service) -> Result<&PathBuf> {
    binaries.get(service.name()).with_context(|| format!("{} was not built", service.name()))
}

fn launch(plan: &Plan, program: &Path, kafka: &KafkaCluster, service: Service) -> Launch {
    let variables = environment::service_variables(plan, &kafka.bootstrap, service);
    let launch = Launch::new(program, &plan.dir.root);
    variables.into_iter().fold(launch, |launch, (name, value)| launch.env(&name, value))
}

/// A replica, which starts by a link of its own name, so that a drill can let it start another program.
fn replica(
    plan: &Plan,
    program: &Path,
    kafka: &KafkaCluster,
    service: Service,
    index: usize,
    port: u16,
) -> Result<ProcessSpec> {
    let name = format!("{}-{}", service.name(), index + 1);
    let launch = launch(plan, &plan.dir.link_program(program, &name)?, kafka, service);
    let url = format!("http://127.0.0.1:{port}/health/ready");
    Ok(ProcessSpec {
        launch: launch.env("PORT", port.to_string()),
        log: plan.dir.log(&name),
        name,
        port,
        probe: Arc::new(move || Box::pin(is_ready(url.clone()))),
        // A service gives its requests and streams 30 s at most.
        grace: Duration::from_secs(35),
    })
}

async fn is_ready(url: String) -> Result<()> {
    let response = http_client::get(url).await?;
    if !response.status().is_success() {
        bail!("{}: {}", response.status(), response.text().await?);
    }
    Ok(())
}
