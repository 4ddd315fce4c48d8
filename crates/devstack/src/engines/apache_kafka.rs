//! Apache Kafka in KRaft mode, in which each broker is also a controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tokio::task::spawn_blocking;

use super::full_disk;
use super::kafka_installation::KafkaInstallation;
use crate::observe::JmxAgent;
use crate::plan::Plan;
use crate::ports::BrokerPorts;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

/// A cluster id is 16 bytes in base64.
const CLUSTER_ID: &str = "YmlndGVjaC1jaGF0LTAwMQ";

/// C1 only and the serial collector: on two cores, they halve the start time and the memory.
const JVM: [&str; 6] = [
    "-Xms96m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.apache.logging.log4j.level=INFO",
];

/// Starts all brokers and returns the bootstrap servers.
pub async fn start(stack: &Stack, kafka: &KafkaInstallation) -> Result<String> {
    let plan = &stack.plan;
    let bootstrap = bootstrap(plan);
    let agent = JmxAgent::for_plan(plan).await?;
    let brokers = 0..plan.ports.brokers.len();
    let specs = try_join_all(brokers.map(|index| prepare(plan, kafka, agent.as_ref(), index, &bootstrap))).await?;
    stack.start_all(specs).await?;
    Ok(bootstrap)
}

fn bootstrap(plan: &Plan) -> String {
    let addresses: Vec<_> = plan.ports.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.clients)).collect();
    addresses.join(",")
}

async fn prepare(
    plan: &Plan,
    kafka: &KafkaInstallation,
    agent: Option<&JmxAgent>,
    index: usize,
    bootstrap: &str,
) -> Result<ProcessSpec> {
    let brokers = &plan.ports.brokers;
    let name = format!("kafka-{}", index + 1);
    // A quorum of one cannot become a quorum of three, so each number of brokers has data of its own.
    let data = plan.dir.data(&format!("{name}-of-{}", brokers.len()));
    fs::create_dir_all(&data)?;
    let settings = data.join("server.properties");
    let advertised = plan.ports.for_services(brokers[index].clients);
    fs::write(&settings, properties(brokers, index, advertised, &data))?;
    let log = plan.dir.log(&name);
    if !data.join("log/meta.properties").exists() {
        let format = java(kafka, &data, None, "kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&settings).run(&log).await?;
    }
    let (bootstrap, count) = (bootstrap.to_owned(), brokers.len());
    let metrics = agent.zip(brokers[index].metrics).map(|(agent, port)| agent.jvm_argument(port));
    let launch = java(kafka, &data, metrics, "kafka.Kafka").arg(settings);
    Ok(ProcessSpec {
        launch: full_disk::apply(plan, launch, &name),
        name,
        port: brokers[index].clients,
        log,
        probe: Arc::new(move || Box::pin(is_member(bootstrap.clone(), index as i32 + 1, count))),
        grace: Duration::from_secs(20),
    })
}

fn java(kafka: &KafkaInstallation, dir: &Path, agent: Option<String>, class: &str) -> Launch {
    let archives = PathBuf::from(&kafka.libs).join("*");
    Launch::new(&kafka.java, dir).args(JVM).args(agent).arg("-cp").arg(archives).arg(class)
}

/// The configuration of a broker, whose clients connect to the port `advertised`. Sessions are shorter than the default of 9 s, because a killed broker cannot register
/// again before its last session has ended.
fn properties(brokers: &[BrokerPorts], index: usize, advertised: u16, data: &Path) -> String {
    let voters: Vec<_> =
        brokers.iter().enumerate().map(|(n, broker)| format!("{}@127.0.0.1:{}", n + 1, broker.controller)).collect();
    let BrokerPorts { clients, controller, .. } = brokers[index];
    let (id, voters, log) = (index + 1, voters.join(","), data.join("log"));
    // Three brokers have the numbers of production; one broker cannot replicate.
    let (replicas, in_sync) = if brokers.len() == 1 { (1, 1) } else { (3, 2) };
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
",
        log = log.display(),
    )
}

/// Fails until the broker is a member of the cluster.
async fn is_member(bootstrap: String, id: i32, count: usize) -> Result<()> {
    spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &bootstrap).create()?;
        let metadata = producer.client().fetch_metadata(None, Duration::from_secs(3))?;
        let brokers = metadata.brokers();
        if !brokers.iter().any(|broker| broker.id() == id) {
            bail!("{} of {count} brokers are members, not yet broker {id}", brokers.len());
        }
        Ok(())
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_brokers_form_a_quorum_and_keep_three_copies() {
        let brokers = [1, 2, 3].map(|n| BrokerPorts { clients: 1000 + n, controller: 2000 + n, metrics: None });
        let text = properties(&brokers, 1, 1002, Path::new("/d"));
        assert!(text.contains("node.id=2\n"));
        assert!(text.contains("controller.quorum.voters=1@127.0.0.1:2001,2@127.0.0.1:2002,3@127.0.0.1:2003\n"));
        assert!(text.contains("min.insync.replicas=2\n"));
        assert!(text.contains("offsets.topic.replication.factor=3\n"));
    }

    #[test]
    fn one_broker_keeps_one_copy() {
        let text = properties(&[BrokerPorts { clients: 1, controller: 2, metrics: None }], 0, 3, Path::new("/d"));
        assert!(text.contains("listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER"));
        assert!(text.contains("advertised.listeners=PLAINTEXT://127.0.0.1:3\n"));
        assert!(text.contains("min.insync.replicas=1\n"));
        assert!(text.contains("offsets.topic.replication.factor=1\n"));
    }
}
