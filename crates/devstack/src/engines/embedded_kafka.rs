//! librdkafka's mock of a Kafka cluster inside the supervisor: the real protocol, with data in memory.

use std::sync::{Arc, mpsc as blocking};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::handle::{Action, ActionRequest, Handle};
use crate::stack::Stack;
use crate::state::{Phase, ProcessStatus};
use crate::terminal::print_step;

/// As long as a killed process is down.
const KILL_DURATION: Duration = Duration::from_millis(500);

/// The names of the topics and their numbers of partitions.
type Topics = Vec<(&'static str, i32)>;

/// Starts the brokers and returns the bootstrap servers.
pub async fn start(stack: &Stack) -> Result<String> {
    let started = Instant::now();
    let count = stack.plan.ports.brokers.len() as i32;
    let (bootstrap, commands) = run(count, topics()).await?;
    for (index, address) in bootstrap.split(',').enumerate() {
        let port = address.rsplit(':').next().unwrap_or_default().parse().unwrap_or_default();
        let broker = EmbeddedBroker { id: index as i32 + 1, commands: commands.clone() };
        stack.register(broker.supervise(stack, port));
        print_step(
            &format!("kafka-{}", index + 1),
            &format!("ready on 127.0.0.1:{port}, inside the supervisor"),
            started,
        );
    }
    Ok(bootstrap)
}

fn topics() -> Topics {
    engines::kafka::topics::TOPICS.iter().map(|topic| (topic.name, topic.partitions)).collect()
}

/// Takes a broker down or brings it up.
struct BrokerCommand {
    id: i32,
    up: bool,
    done: oneshot::Sender<Result<(), KafkaError>>,
}

type Commands = blocking::Sender<BrokerCommand>;

/// Runs the cluster on a thread of its own, because its type is not `Send`.
async fn run(count: i32, topics: Topics) -> Result<(String, Commands)> {
    let (result, started) = oneshot::channel();
    let (commands, received) = blocking::channel();
    thread::spawn(move || {
        let cluster = match create_cluster(count, &topics) {
            Ok(cluster) => cluster,
            Err(error) => return result.send(Err(error)),
        };
        let sent = result.send(Ok(cluster.bootstrap_servers()));
        while let Ok(BrokerCommand { id, up, done }) = received.recv() {
            let result = if up { cluster.broker_up(id) } else { cluster.broker_down(id) };
            // The requester may be gone.
            let _ = done.send(result);
        }
        sent
    });
    let bootstrap = started.await.context("the embedded broker did not start")??;
    Ok((bootstrap, commands))
}

fn create_cluster(count: i32, topics: &Topics) -> Result<MockCluster<'static, DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(count)?;
    for (name, partitions) in topics {
        cluster.create_topic(name, *partitions, count.min(3))?;
    }
    Ok(cluster)
}

struct EmbeddedBroker {
    id: i32,
    commands: Commands,
}

impl EmbeddedBroker {
    /// A handle with the same actions as that of a process.
    fn supervise(self, stack: &Stack, port: u16) -> Handle {
        let name = format!("kafka-{}", self.id);
        let log = stack.plan.dir.log("supervisor");
        let pid = Some(std::process::id());
        let status = ProcessStatus { name: name.clone(), pid, port, state: Phase::Ready, log, failure: None };
        let (sender, watched) = watch::channel(status);
        let (requests, received) = mpsc::channel(8);
        let changed = Arc::clone(&stack.changed);
        tokio::spawn(self.run(received, move |state| {
            sender.send_modify(|status| status.state = state);
            changed.notify_one();
        }));
        Handle::new(&name, requests, watched)
    }

    async fn run(self, mut requests: mpsc::Receiver<ActionRequest>, set_phase: impl Fn(Phase)) {
        let mut is_up = true;
        while let Some(ActionRequest { action, done }) = requests.recv().await {
            match action {
                Action::Start => set_phase(self.set_up(true).await),
                Action::Stop => set_phase(self.set_up(false).await),
                Action::Kill if is_up => {
                    set_phase(self.set_up(false).await);
                    sleep(KILL_DURATION).await;
                    set_phase(self.set_up(true).await);
                }
                Action::Kill => {}
            }
            is_up = action != Action::Stop && (is_up || action == Action::Start);
            let _ = done.send(());
        }
    }

    async fn set_up(&self, up: bool) -> Phase {
        let (done, acknowledged) = oneshot::channel();
        let sent = self.commands.send(BrokerCommand { id: self.id, up, done }).is_ok();
        match (sent, acknowledged.await) {
            (true, Ok(Ok(()))) if up => Phase::Ready,
            (true, Ok(Ok(()))) => Phase::Stopped,
            _ => Phase::Failed,
        }
    }
}
