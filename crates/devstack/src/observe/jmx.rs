//! Kafka's metrics from the JMX exporter of the Prometheus project, an agent in each broker. Its rules produce the names of
//! production's exporter, so that dashboards and alerts are the same.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::cache::{create_atomically, engine_cache};
use crate::install::{self, MAVEN, last_line};
use crate::plan::Plan;
use crate::terminal::with_progress;

const ARTIFACT: &str = "io.prometheus.jmx:jmx_prometheus_javaagent:1.0.1";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

const RULES: &str = r#"includeObjectNames:
  - kafka.controller:type=KafkaController,name=ActiveBrokerCount
  - kafka.log:type=Log,name=LogEndOffset,*
  - kafka.cluster:type=Partition,name=UnderReplicated,*
rules:
  - pattern: kafka.controller<type=KafkaController, name=ActiveBrokerCount><>Value
    name: kafka_brokers
    help: Brokers of the cluster
    type: GAUGE
  - pattern: kafka.log<type=Log, name=LogEndOffset, topic=(.+), partition=(.+)><>Value
    name: kafka_topic_partition_current_offset
    help: End of a partition
    type: GAUGE
    labels: {topic: "$1", partition: "$2"}
  - pattern: kafka.cluster<type=Partition, name=UnderReplicated, topic=(.+), partition=(.+)><>Value
    name: kafka_topic_partition_under_replicated_partition
    help: 1 while a copy of the partition is missing
    type: GAUGE
    labels: {topic: "$1", partition: "$2"}
"#;

/// The agent's archive and its rules.
pub struct JmxAgent {
    archive: PathBuf,
    rules: PathBuf,
}

impl JmxAgent {
    /// None without `--observe`.
    pub async fn for_plan(plan: &Plan) -> Result<Option<Self>> {
        if plan.ports.observers.is_none() {
            return Ok(None);
        }
        let folder = engine_cache()?.join("jmx-1.0.1");
        let archive = folder.join("jmx_prometheus_javaagent-1.0.1.jar");
        if !archive.exists() {
            fetch(&folder).await?;
        }
        let rules = plan.dir.data("jmx.yml");
        std::fs::write(&rules, RULES)?;
        Ok(Some(Self { archive, rules }))
    }

    /// The argument of a JVM that exports the metrics of a broker on a port.
    pub fn jvm_argument(&self, port: u16) -> String {
        format!("-javaagent:{}=127.0.0.1:{port}:{}", self.archive.display(), self.rules.display())
    }
}

async fn fetch(folder: &Path) -> Result<()> {
    install::ensure(&[MAVEN]).await?;
    with_progress("kafka", &format!("fetching {ARTIFACT} with Maven"), create_atomically(folder, maven_copy)).await
}

async fn maven_copy(draft: &Path) -> Result<()> {
    let output = Command::new(MAVEN.path()?)
        .args(["-B", "-q", COPY, &format!("-Dartifact={ARTIFACT}")])
        .arg(format!("-DoutputDirectory={}", draft.display()))
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        bail!("Maven cannot fetch {ARTIFACT}: {}", last_line(&output.stdout));
    }
    Ok(())
}
