//! The end of some topics, as it grows: for the live fan-out, which every replica does for itself.
//!
//! No group and no commits: all partitions, from where they ended when the tail began. A hint, not the truth: who needs
//! every event reads the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::events::Received;
use crate::kafka::record::Fetched;
use crate::kafka::{KafkaConfig, Log, backoff, failed, misconfigured};

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
    /// Begins in the background, as soon as there is a broker, and ends with `shutdown` or when it is dropped.
    pub fn start(config: &KafkaConfig, topics: &[&str], shutdown: CancellationToken) -> Result<Self> {
        let client = settings(config).create_with_context(Log).map_err(misconfigured)?;
        let (to_reader, events) = mpsc::channel(AHEAD);
        let (at_end, ready) = watch::channel(false);
        let follower = Follower {
            client: Arc::new(client),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            assigned: BTreeMap::new(),
            at_end,
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
    client: Arc<StreamConsumer<Log>>,
    topics: Vec<String>,
    /// The number of partitions taken, per topic.
    assigned: BTreeMap<String, i32>,
    at_end: watch::Sender<bool>,
}

impl Follower {
    async fn follow(mut self, to_reader: mpsc::Sender<Received>) {
        let client = self.client.clone();
        tokio::join!(self.look_around(), deliver(&client, to_reader));
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
fn take(client: &StreamConsumer<Log>, topic: &str, known: i32, begun: bool) -> Result<i32, KafkaError> {
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

async fn deliver(client: &StreamConsumer<Log>, to_reader: mpsc::Sender<Received>) {
    loop {
        let record = tokio::select! {
            record = client.recv() => record.map(|message| Fetched::from(&message)),
            () = to_reader.closed() => return,
        };
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
        .set("group.id", format!("{}.live", config.client_id))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.error.backoff.ms", "100");
    client
}

impl ConsumerContext for Log {}
