//! Kafka's own metrics, by the JMX exporter of the Prometheus project as an agent in each broker. Its rules give them the
//! names under which production's exporter tells them, so that boards and alerts are the same.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::install::{MAVEN, all, last_line};
use crate::report::say;
use crate::stack::Plan;
use crate::workspace::{engine_cache, keep};

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
pub struct Agent {
    archive: PathBuf,
    rules: PathBuf,
}

impl Agent {
    /// None where nothing is observed.
    pub async fn of(plan: &Plan) -> Result<Option<Self>> {
        if plan.ports.observers.is_none() {
            return Ok(None);
        }
        let kept = engine_cache()?.join("jmx-1.0.1");
        let archive = kept.join("jmx_prometheus_javaagent-1.0.1.jar");
        if !archive.exists() {
            fetch(&kept).await?;
        }
        let rules = plan.place.data("jmx.yml");
        std::fs::write(&rules, RULES)?;
        Ok(Some(Self { archive, rules }))
    }

    /// The argument by which a broker tells its metrics on a port.
    pub fn argument(&self, port: u16) -> String {
        format!("-javaagent:{}=127.0.0.1:{port}:{}", self.archive.display(), self.rules.display())
    }
}

async fn fetch(kept: &Path) -> Result<()> {
    all(&[MAVEN]).await?;
    say(&format!("  kafka              fetching {ARTIFACT} with Maven"));
    keep(kept, copy).await
}

async fn copy(draft: &Path) -> Result<()> {
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
