//! The commands of a service's program, for operators and for images without a shell.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use common::config::Env;
use common::error::BoxError;
use engines::kafka::topics;
use platform::config::{KafkaConfig, LogConfig};
use platform::{Service, http, telemetry};

use crate::process::dead_letters;

/// The timeout of the health check of a container.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A command as `--help` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The name, with which a call begins.
    pub name: &'static str,
    /// The effect of the command, as the rest of the line.
    pub purpose: &'static str,
}

/// The commands of every service.
const COMMANDS: [Command; 3] = [
    Command { name: "topics", purpose: "creates the topics of Kafka and corrects their settings" },
    Command { name: "dlq", purpose: "list, show and replay dead letters" },
    Command { name: "healthcheck", purpose: "exits with status 0 if the service on this machine is alive" },
];

pub(super) async fn execute(
    service: Service,
    own: &[Command],
    env: &Env,
    command: &str,
    args: &[String],
) -> Result<(), BoxError> {
    if let ("topics" | "healthcheck" | "help" | "--help" | "-h", [unknown, ..]) = (command, args) {
        return Err(format!("no argument {unknown:?}; {command} takes none").into());
    }
    match command {
        "topics" => create_topics(service, env).await,
        "dlq" => dead_letters::execute(service, env, args).await,
        "healthcheck" => healthcheck(service, env).await,
        "help" | "--help" | "-h" => Ok(std::io::stdout().write_all(help(service, own).as_bytes())?),
        other => {
            let names: Vec<_> = COMMANDS.iter().chain(own).map(|command| command.name).collect();
            Err(format!("no command {other:?}; there are {}; --help says more", names.join(", ")).into())
        }
    }
}

/// The commands of the service, each in a line.
fn help(service: Service, own: &[Command]) -> String {
    let mut text = format!("{} [COMMAND]\n\nServes requests, or executes a command:\n\n", service.name);
    for Command { name, purpose } in COMMANDS.iter().chain(own) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12} {purpose}");
    }
    text + "\ndocs/operations.md describes the commands and the environment variables.\n"
}

/// Creates the topics, before the first start of the system.
async fn create_topics(service: Service, env: &Env) -> Result<(), BoxError> {
    telemetry::start_logs(&LogConfig::read(env)?);
    let kafka = KafkaConfig::read(env, service.name)?;
    let replication = env.number("KAFKA_REPLICATION", 3, 1..=9)? as i32;
    Ok(topics::create(&kafka, replication).await?)
}

/// Checks that the service on this machine is alive.
async fn healthcheck(service: Service, env: &Env) -> Result<(), BoxError> {
    let (port, tls) = (env.parse("PORT", service.port)?, env.get("TLS_CERT_FILE").is_some());
    tokio::time::timeout(HEALTHCHECK_TIMEOUT, http::probe(port, tls)).await?
}
