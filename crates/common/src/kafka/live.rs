//! The end of some topics, as it grows: for the live fan-out, which every replica does for itself.
//!
//! No group and no commits: all partitions, from where they ended when the tail began. A hint, not the truth: who needs
//! every event reads the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::events::Received;
use crate::kafka::group::STATISTICS_EVERY_MS;
use crate::kafka::producer::Producer;
use crate::kafka::record::Fetched;
use crate::kafka::{KafkaConfig, Metrics, backoff, failed, log, misconfigured};

/// How often new partitions are looked for.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// How long a broker is waited for when partitions and their ends are asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a slow reader may leave unread before nothing more is fetched.
const AHEAD: usize = 1_024;

pub struct Tail {
    events: mpsc::Receiver<Received>,
    ready: watch::Receiver<bool>,
}

impl Tail {
    /// Begins in the background, as soon as there is a broker, and ends with `shutdown` or when it is dropped. What it
    /// hears is counted where the producer counts what it tells.
    pub fn start(
        config: &KafkaConfig,
        producer: &Producer,
        topics: &[&str],
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let (name, metrics) = (name(config), producer.metrics().clone());
        let context = Measured { name: name.clone(), metrics: metrics.clone() };
        let client = settings(config).create_with_context(context).map_err(misconfigured)?;
        let (to_reader, events) = mpsc::channel(AHEAD);
        let (at_end, ready) = watch::channel(false);
        let follower = Follower {
            client: Arc::new(client),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            assigned: BTreeMap::new(),
            at_end,
            name,
            metrics,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = follower.follow(to_reader) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Self { events, ready })
    }

    /// The next event; none after the end.
    pub async fn next(&mut self) -> Option<Received> {
        self.events.recv().await
    }

    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when it stands at the end: whatever is published from now on will come.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ready = self.ready.clone();
        async move {
            if ready.wait_for(|ready| *ready).await.is_err() {
                // It ended before it was ever ready, and will not be.
                std::future::pending::<()>().await;
            }
        }
    }
}

struct Follower {
    client: Arc<StreamConsumer<Measured>>,
    topics: Vec<String>,
    /// The number of partitions taken, per topic.
    assigned: BTreeMap<String, i32>,
    at_end: watch::Sender<bool>,
    name: String,
    metrics: Metrics,
}

impl Follower {
    async fn follow(mut self, to_reader: mpsc::Sender<Received>) {
        let (client, name, metrics) = (self.client.clone(), self.name.clone(), self.metrics.clone());
        let heard = |topic: &str| metrics.consumed.with_label_values(&[&name, topic]).inc();
        tokio::join!(self.look_around(), deliver(&client, heard, to_reader));
    }

    /// Takes the partitions there are, and those that appear later.
    async fn look_around(&mut self) {
        let mut waits = backoff();
        loop {
            let pause = match self.take_new().await {
                Ok(()) => {
                    self.at_end.send_replace(true);
                    waits = backoff();
                    LOOK_AROUND
                }
                Err(error) => {
                    tracing::debug!(%error, "the tail waits for a broker");
                    waits.next().unwrap_or(LOOK_AROUND)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn take_new(&mut self) -> Result<()> {
        let begun = *self.at_end.borrow();
        for topic in &self.topics {
            let known = self.assigned.get(topic).copied().unwrap_or(0);
            let (client, name) = (self.client.clone(), topic.clone());
            let taken = tokio::task::spawn_blocking(move || take(&client, &name, known, begun)).await;
            let taken = taken.map_err(Error::internal)?.map_err(failed)?;
            self.assigned.insert(topic.clone(), taken);
        }
        Ok(())
    }
}

/// Assigns the partitions of a topic from `known` on and returns how many there are.
fn take(client: &StreamConsumer<Measured>, topic: &str, known: i32, begun: bool) -> Result<i32, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
    let there = metadata.topics().first().map_or(0, |topic| topic.partitions().len() as i32);
    let mut new = TopicPartitionList::new();
    for partition in known..there {
        // What appears after the tail began is new from its first record on.
        let from = if begun {
            Offset::Beginning
        } else {
            Offset::Offset(client.fetch_watermarks(topic, partition, PATIENCE)?.1)
        };
        new.add_partition_offset(topic, partition, from)?;
    }
    if new.count() > 0 {
        client.incremental_assign(&new)?;
    }
    Ok(known.max(there))
}

async fn deliver(client: &StreamConsumer<Measured>, heard: impl Fn(&str), to_reader: mpsc::Sender<Received>) {
    loop {
        let record = tokio::select! {
            record = client.recv() => record.map(|message| Fetched::from(&message)),
            () = to_reader.closed() => return,
        };
        if let Ok(record) = &record {
            heard(&record.topic);
        }
        match record.map(Received::read) {
            Ok(Ok(event)) => {
                if to_reader.send(event).await.is_err() {
                    return;
                }
            }
            Ok(Err(malformed)) => tracing::warn!(topic = malformed.record.topic, reason = malformed.reason, "skipped"),
            Err(error) => tracing::debug!(%error, "tail"),
        }
    }
}

fn settings(config: &KafkaConfig) -> rdkafka::ClientConfig {
    let mut client = config.client();
    client
        // The client wants a name even where no group is ever formed under it.
        .set("group.id", name(config))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS_EVERY_MS);
    client
}

/// How metrics and the client itself call it.
fn name(config: &KafkaConfig) -> String {
    format!("{}.live", config.client_id)
}

/// Tells how far behind the end the tail is.
struct Measured {
    name: String,
    metrics: Metrics,
}

impl ClientContext for Measured {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }

    fn stats(&self, statistics: Statistics) {
        // Nothing is stored or committed: what is behind is what was not fetched.
        self.metrics.measure_lag(&self.name, &statistics, unread);
    }
}

impl ConsumerContext for Measured {}

/// What lies between the last record that was handed out and the end; below zero where an offset is not known.
fn unread(partition: &Partition) -> i64 {
    let next = if partition.app_offset < 0 { partition.next_offset } else { partition.app_offset };
    if next < 0 { next } else { partition.hi_offset - next }
}
