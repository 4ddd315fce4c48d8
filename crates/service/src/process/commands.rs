//! What a service's program can do besides serving: steps for operators and for images without a shell.

use std::time::Duration;

use super::{Failure, dead_letters};
use crate::config::{Base, Env};
use crate::http::Service;
use crate::kafka::topics;
use crate::telemetry;

/// A container's health check gives up after this.
const HEALTHCHECK_PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn carry_out(service: Service, env: &Env, command: &str, args: &[String]) -> Result<(), Failure> {
    match command {
        "topics" => create_topics(service, env).await,
        "dlq" => dead_letters::carry_out(&Base::read(env, service.name, service.port)?.kafka, args).await,
        "healthcheck" => healthcheck(service, env).await,
        other => Err(format!("no command {other:?}; there are topics, dlq and healthcheck").into()),
    }
}

/// Creates the topics: the explicit step before a first start.
async fn create_topics(service: Service, env: &Env) -> Result<(), Failure> {
    let base = Base::read(env, service.name, service.port)?;
    telemetry::start_logs(&base);
    let replication = env.number("KAFKA_REPLICATION", 3, 1..=9)? as i32;
    Ok(topics::create(&base.kafka.bootstrap, &base.kafka.topics, replication).await?)
}

/// Whether the service on this machine lives: for images that have no shell and no curl.
async fn healthcheck(service: Service, env: &Env) -> Result<(), Failure> {
    let url = format!("http://127.0.0.1:{}/health", env.parse("PORT", service.port)?);
    let http = reqwest::Client::builder().no_proxy().timeout(HEALTHCHECK_PATIENCE).build()?;
    http.get(url).send().await?.error_for_status()?;
    Ok(())
}
