//! The commands of a service's program, for operators and for images without a shell.

use std::time::Duration;

use common::config::Env;
use common::error::BoxError;
use engines::kafka::topics;
use platform::config::{KafkaConfig, LogConfig};
use platform::{Service, telemetry};

use crate::process::dead_letters;

/// The timeout of the health check of a container.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn execute(service: Service, env: &Env, command: &str, args: &[String]) -> Result<(), BoxError> {
    match command {
        "topics" => create_topics(service, env).await,
        "dlq" => dead_letters::execute(&KafkaConfig::read(env, service.name), args).await,
        "healthcheck" => healthcheck(service, env).await,
        other => Err(format!("no command {other:?}; there are topics, dlq and healthcheck").into()),
    }
}

/// Creates the topics, before the first start of the system.
async fn create_topics(service: Service, env: &Env) -> Result<(), BoxError> {
    telemetry::start_logs(&LogConfig::read(env)?);
    let kafka = KafkaConfig::read(env, service.name);
    let replication = env.number("KAFKA_REPLICATION", 3, 1..=9)? as i32;
    Ok(topics::create(&kafka.bootstrap, &kafka.topics, replication).await?)
}

/// Checks that the service on this machine is alive, in images without a shell and curl.
async fn healthcheck(service: Service, env: &Env) -> Result<(), BoxError> {
    let url = format!("http://127.0.0.1:{}/health", env.parse("PORT", service.port)?);
    let http = reqwest::Client::builder().no_proxy().timeout(HEALTHCHECK_TIMEOUT).build()?;
    http.get(url).send().await?.error_for_status()?;
    Ok(())
}
