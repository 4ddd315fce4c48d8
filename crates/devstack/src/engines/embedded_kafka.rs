//! librdkafka's own mock of a Kafka cluster, inside the supervisor: the real protocol, in memory.

use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::handle::{Handle, Order, Ordered};
use crate::report::step;
use crate::stack::Stack;
use crate::state::{Entry, Phase};

/// How long a killed broker is away, as a killed process would be.
const KILLED_FOR: Duration = Duration::from_millis(500);

/// Name and number of partitions.
type Topics = Vec<(&'static str, i32)>;

/// Starts the brokers and returns where clients find them.
pub async fn start(stack: &Stack) -> Result<String> {
    let started = Instant::now();
    let count = stack.plan.ports.brokers.len() as i32;
    let (bootstrap, switch) = run(count, topics()).await?;
    for (index, address) in bootstrap.split(',').enumerate() {
        let port = address.rsplit(':').next().unwrap_or_default().parse().unwrap_or_default();
        let broker = Broker { id: index as i32 + 1, switch: switch.clone() };
        stack.adopt(broker.keep(stack, port));
        step(&format!("kafka-{}", index + 1), &format!("ready on 127.0.0.1:{port}, inside the supervisor"), started);
    }
    Ok(bootstrap)
}

fn topics() -> Topics {
    engines::kafka::topics::TOPICS.iter().map(|topic| (topic.name, topic.partitions)).collect()
}

/// A broker to take down or bring up, and whom to tell.
type Switch = blocking::Sender<(i32, bool, oneshot::Sender<Result<(), KafkaError>>)>;

/// The cluster lives on a thread of its own: it may not move to another.
async fn run(count: i32, topics: Topics) -> Result<(String, Switch)> {
    let (opened, is_open) = oneshot::channel();
    let (switch, switched) = blocking::channel();
    thread::spawn(move || {
        let cluster = match open(count, &topics) {
            Ok(cluster) => cluster,
            Err(error) => return opened.send(Err(error)),
        };
        let answer = opened.send(Ok(cluster.bootstrap_servers()));
        while let Ok((id, up, done)) = switched.recv() {
            let result = if up { cluster.broker_up(id) } else { cluster.broker_down(id) };
            // Whoever ordered may have gone.
            let _ = oneshot::Sender::send(done, result);
        }
        answer
    });
    let bootstrap = is_open.await.context("the embedded broker did not start")??;
    Ok((bootstrap, switch))
}

fn open(count: i32, topics: &Topics) -> Result<MockCluster<'static, DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(count)?;
    for (name, partitions) in topics {
        cluster.create_topic(name, *partitions, count.min(3))?;
    }
    Ok(cluster)
}

struct Broker {
    id: i32,
    switch: Switch,
}

impl Broker {
    /// The same orders as for a process, by the cluster's own means.
    fn keep(self, stack: &Stack, port: u16) -> Handle {
        let name = format!("kafka-{}", self.id);
        let log = stack.plan.place.log("supervisor");
        let pid = Some(std::process::id());
        let entry = Entry { name: name.clone(), pid, port, state: Phase::Ready, log, failure: None };
        let (told, seen) = watch::channel(entry);
        let (orders, received) = mpsc::channel(8);
        let changed = stack.changed();
        tokio::spawn(self.obey(received, move |state| {
            told.send_modify(|entry| entry.state = state);
            changed.notify_one();
        }));
        Handle::new(&name, orders, seen)
    }

    async fn obey(self, mut orders: mpsc::Receiver<Ordered>, tell: impl Fn(Phase)) {
        let mut is_up = true;
        while let Some((order, done)) = orders.recv().await {
            match order {
                Order::Start => tell(self.turn(true).await),
                Order::Stop => tell(self.turn(false).await),
                Order::Kill if is_up => {
                    tell(self.turn(false).await);
                    sleep(KILLED_FOR).await;
                    tell(self.turn(true).await);
                }
                Order::Kill => {}
            }
            is_up = order != Order::Stop && (is_up || order == Order::Start);
            let _ = done.send(());
        }
    }

    async fn turn(&self, up: bool) -> Phase {
        let (done, is_done) = oneshot::channel();
        let asked = self.switch.send((self.id, up, done)).is_ok();
        match (asked, is_done.await) {
            (true, Ok(Ok(()))) if up => Phase::Ready,
            (true, Ok(Ok(()))) => Phase::Stopped,
            _ => Phase::Failed,
        }
    }
}
