//! The tail of some topics: the events that are published from now on, in every replica.
//!
//! A tail has no group and commits nothing. It reads all partitions from their ends at the start. Events may be
//! missing, for example after an outage; a reader that needs every event reads the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::error::Error as CommonError;
use platform::config::KafkaConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::kafka::client::{self, backoff, log, misconfigured};
use crate::kafka::group::STATISTICS_EVERY_MS;
use crate::kafka::metrics::Metrics;
use crate::kafka::producer::Producer;
use crate::kafka::received::Received;
use crate::kafka::record::Fetched;

/// The interval at which new partitions are assigned.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);

/// The longest wait for the partitions of a topic and their ends.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The events that a slow reader may leave unread before the tail stops fetching.
const BUFFER: usize = 1_024;

/// A reader of the tail.
pub struct Tail {
    events: mpsc::Receiver<Received>,
    ready: watch::Receiver<bool>,
}

impl Tail {
    /// Starts in the background as soon as a broker is available, and ends with `shutdown` or when it is dropped. The
    /// events are counted in the metrics of `producer`.
    ///
    /// # Errors
    /// Returns an internal error if librdkafka rejects the configuration.
    pub fn start(
        config: &KafkaConfig,
        producer: &Producer,
        topics: &[&str],
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let (name, metrics) = (name(config), producer.metrics().clone());
        let context = Measured { name: name.clone(), metrics: metrics.clone() };
        let client = settings(config).create_with_context(context).map_err(misconfigured)?;
        let (to_reader, events) = mpsc::channel(BUFFER);
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

    /// The next event; none after the shutdown.
    pub async fn next(&mut self) -> Option<Received> {
        self.events.recv().await
    }

    /// Whether the tail is at the ends of all partitions.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when the tail is at the ends of all partitions: it reads every event that is published later.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ready = self.ready.clone();
        async move {
            if ready.wait_for(|ready| *ready).await.is_err() {
                // The tail ended before it was ready.
                std::future::pending::<()>().await;
            }
        }
    }
}

struct Follower {
    client: Arc<StreamConsumer<Measured>>,
    topics: Vec<String>,
    /// The number of assigned partitions per topic.
    assigned: BTreeMap<String, i32>,
    at_end: watch::Sender<bool>,
    name: String,
    metrics: Metrics,
}

impl Follower {
    async fn follow(mut self, to_reader: mpsc::Sender<Received>) {
        let (client, name, metrics) = (self.client.clone(), self.name.clone(), self.metrics.clone());
        let count = |topic: &str| metrics.consumed.with_label_values(&[&name, topic]).inc();
        tokio::join!(self.discover(), deliver(&client, count, to_reader));
    }

    /// Assigns the partitions that exist, and later the new ones.
    async fn discover(&mut self) {
        let mut waits = backoff();
        loop {
            let pause = match self.assign_new().await {
                Ok(()) => {
                    self.at_end.send_replace(true);
                    waits = backoff();
                    DISCOVERY_INTERVAL
                }
                Err(error) => {
                    tracing::debug!(%error, "the tail waits for a broker");
                    waits.next().unwrap_or(DISCOVERY_INTERVAL)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn assign_new(&mut self) -> Result<()> {
        let begun = *self.at_end.borrow();
        for topic in &self.topics {
            let known = self.assigned.get(topic).copied().unwrap_or(0);
            let (client, name) = (self.client.clone(), topic.clone());
            let assigned = tokio::task::spawn_blocking(move || assign(&client, &name, known, begun)).await;
            self.assigned.insert(topic.clone(), assigned.map_err(CommonError::internal)??);
        }
        Ok(())
    }
}

/// Assigns the partitions of a topic from number `known` on. Returns the number of partitions.
fn assign(client: &StreamConsumer<Measured>, topic: &str, known: i32, begun: bool) -> Result<i32, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let existing = metadata.topics().first().map_or(0, |topic| topic.partitions().len() as i32);
    let mut new = TopicPartitionList::new();
    for partition in known..existing {
        // All records of a partition that appears later are new.
        let from = if begun {
            Offset::Beginning
        } else {
            Offset::Offset(client.fetch_watermarks(topic, partition, METADATA_TIMEOUT)?.1)
        };
        new.add_partition_offset(topic, partition, from)?;
    }
    if new.count() > 0 {
        client.incremental_assign(&new)?;
    }
    Ok(known.max(existing))
}

async fn deliver(client: &StreamConsumer<Measured>, count: impl Fn(&str), to_reader: mpsc::Sender<Received>) {
    loop {
        let record = tokio::select! {
            record = client.recv() => record.map(|message| Fetched::from(&message)),
            () = to_reader.closed() => return,
        };
        if let Ok(record) = &record {
            count(&record.topic);
        }
        match record.map(Received::read) {
            Ok(Ok(event)) => {
                if to_reader.send(event).await.is_err() {
                    return;
                }
            }
            Ok(Err(malformed)) => {
                tracing::warn!(topic = malformed.record.topic, reason = malformed.reason, "skipped a record")
            }
            Err(error) => tracing::debug!(%error, "tail"),
        }
    }
}

fn settings(config: &KafkaConfig) -> rdkafka::ClientConfig {
    let mut client = client::settings(config);
    client
        // librdkafka requires a group id although no group is formed.
        .set("group.id", name(config))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS_EVERY_MS);
    client
}

/// The name in metrics and in the client.
fn name(config: &KafkaConfig) -> String {
    format!("{}.live", config.client_id)
}

/// Reports the lag of the tail.
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
        // Offsets are neither stored nor committed, so the lag counts the records that were not delivered.
        self.metrics.set_lag(&self.name, &statistics, unread);
    }
}

impl ConsumerContext for Measured {}

/// The records between the last delivered one and the end; below zero where an offset is unknown.
fn unread(partition: &Partition) -> i64 {
    let next = if partition.app_offset < 0 { partition.next_offset } else { partition.app_offset };
    if next < 0 { next } else { partition.hi_offset - next }
}
