//! Kafka: Apache Kafka if it is installed or can be fetched, or else a broker inside the supervisor.

use std::path::PathBuf;

use anyhow::Result;

use super::kafka_installation::KafkaInstallation;
use super::{apache_kafka, embedded_kafka};
use crate::options::KafkaChoice;
use crate::stack::Stack;
use crate::terminal::print_about;

/// Brokers that are ready.
pub struct KafkaCluster {
    pub bootstrap: String,
    /// The embedded broker creates the topics itself.
    pub needs_topics: bool,
    /// The embedded broker has no metrics.
    pub exports_metrics: bool,
    /// The folder of Apache Kafka's archives, with which tests start a broker of their own.
    pub libs: Option<PathBuf>,
}

pub async fn start(stack: &Stack) -> Result<KafkaCluster> {
    let installation = choose(stack).await?;
    let is_apache = installation.is_some();
    let bootstrap = match &installation {
        Some(installation) => apache_kafka::start(stack, installation).await?,
        None => embedded_kafka::start(stack).await?,
    };
    let libs = installation.map(|installation| installation.libs);
    Ok(KafkaCluster { bootstrap, needs_topics: is_apache, exports_metrics: is_apache, libs })
}

/// The installation of Apache Kafka to run; none for the embedded broker. The choice and its reason are printed.
async fn choose(stack: &Stack) -> Result<Option<KafkaInstallation>> {
    let choice = stack.plan.options.kafka;
    if choice == KafkaChoice::Embedded {
        print_about("kafka", "embedded broker, as requested");
        return Ok(None);
    }
    match KafkaInstallation::find_or_fetch(&stack.plan.dir).await {
        Ok(installation) => {
            print_about("kafka", &format!("Apache Kafka in {}", installation.libs.display()));
            Ok(Some(installation))
        }
        Err(error) if choice == KafkaChoice::Auto => {
            print_about("kafka", &format!("embedded broker (in memory only), because {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
