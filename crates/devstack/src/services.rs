//! The three services: their topics, their environment, their replicas.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::build::Programs;
use crate::engines::Kafka;
use crate::environment;
use crate::keeper::Unit;
use crate::process::Launch;
use crate::report::step;
use crate::stack::{Plan, Stack};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    User,
    Friend,
    Chat,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::User, Self::Friend, Self::Chat];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Friend => "friend-service",
            Self::Chat => "chat-service",
        }
    }

    /// The contract's.
    pub fn port(self) -> u16 {
        match self {
            Self::User => 8005,
            Self::Friend => 8003,
            Self::Chat => 8002,
        }
    }

    pub fn schema(self) -> &'static str {
        match self {
            Self::User => "bigtech_user",
            Self::Friend => "bigtech_friend",
            Self::Chat => "bigtech_chat",
        }
    }

    /// The services that it calls.
    pub fn asks(self) -> &'static [Self] {
        match self {
            Self::User => &[],
            Self::Friend => &[Self::User],
            Self::Chat => &[Self::User, Self::Friend],
        }
    }

    /// How its variables begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Friend => "FRIEND",
            Self::Chat => "CHAT",
        }
    }
}

/// Creates the topics, then starts all replicas at once: their migrations take turns by themselves.
pub async fn start(stack: &Stack, programs: &Programs, kafka: &Kafka) -> Result<()> {
    let plan = &stack.plan;
    if kafka.wants_topics {
        create_topics(plan, programs, kafka).await?;
    }
    let mut units = Vec::new();
    for service in Service::ALL {
        for (index, port) in plan.ports.of(service).iter().enumerate() {
            units.push(replica(plan, programs, kafka, service, index, *port)?);
        }
    }
    stack.start_all(units).await
}

async fn create_topics(plan: &Plan, programs: &Programs, kafka: &Kafka) -> Result<()> {
    let started = Instant::now();
    let replication = if plan.ports.brokers.len() == 1 { "1" } else { "3" };
    let mut launch = launch(plan, programs, kafka, Service::User)?;
    launch.env.push(("KAFKA_REPLICATION".into(), replication.into()));
    launch.arg("topics").run(&plan.place.log("topics")).await?;
    step("topics", "created or there", started);
    Ok(())
}

fn launch(plan: &Plan, programs: &Programs, kafka: &Kafka, service: Service) -> Result<Launch> {
    let program = programs.get(service.name()).with_context(|| format!("{} was not built", service.name()))?;
    let mut launch = Launch::new(program, &plan.place.root);
    launch.env.extend(environment::of_service(plan, &kafka.bootstrap, service));
    Ok(launch)
}

fn replica(plan: &Plan, programs: &Programs, kafka: &Kafka, service: Service, index: usize, port: u16) -> Result<Unit> {
    let name = format!("{}-{}", service.name(), index + 1);
    let url = format!("http://127.0.0.1:{port}/health/ready");
    Ok(Unit {
        launch: launch(plan, programs, kafka, service)?.env("PORT", port.to_string()),
        log: plan.place.log(&name),
        name,
        port,
        probe: Arc::new(move || Box::pin(is_ready(url.clone()))),
        // A service gives its requests and streams 30 s at most.
        grace: Duration::from_secs(35),
    })
}

async fn is_ready(url: String) -> Result<()> {
    let answer = reqwest::get(url).await?;
    if !answer.status().is_success() {
        bail!("{}: {}", answer.status(), answer.text().await?);
    }
    Ok(())
}
