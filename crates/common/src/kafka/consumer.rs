//! The runner of projections: a consumer group whose offsets are committed after the work.
//!
//! Records come in batches. What a handler needs being away pauses the partitions until it is back; a record that
//! cannot be worked off goes to the dead letters after [`TRIES`], and the rest flows on.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::error::{Error, Result};
use crate::events::Received;
use crate::kafka::dead_letters;
use crate::kafka::group::{Group, settings};
use crate::kafka::producer::{Producer, Record};
use crate::kafka::record::Fetched;
use crate::kafka::{KafkaConfig, backoff, misconfigured, note};
use crate::telemetry::trace;

/// How often a record is tried that fails for a reason of its own.
const TRIES: u32 = 3;

/// Between these tries.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Records worked off together at most.
const BATCH: usize = 500;

/// A projection.
pub trait Handler: Send + Sync + 'static {
    /// Works off some events, of one key in order. They may come again, alone or with others: a repeat must change
    /// nothing. Types it does not know are not its business.
    ///
    /// [`Error::Unavailable`] means: later, all of them again. Any other error means that one of them is poison.
    fn handle(&self, events: &[Received]) -> impl Future<Output = Result<()>> + Send;
}

/// A projection's place in its consumer group.
pub struct Consumer<H> {
    client: StreamConsumer<Group>,
    group: String,
    topics: Vec<String>,
    handler: H,
    producer: Producer,
    /// Fetched during the work.
    waiting: VecDeque<Fetched>,
}

/// The process ends; what is not done yet is done by the next owner of the partition.
struct Stopped;

/// Where a batch ends, by topic and partition.
type Ends = HashMap<(String, i32), End>;

#[derive(Default)]
struct End {
    offset: i64,
    records: u64,
}

/// What became of a batch.
enum Fate {
    Done,
    Poison(Error),
}

impl<H: Handler> Consumer<H> {
    /// `group` is the same in all replicas: they share the partitions of `topics`.
    pub fn new(config: &KafkaConfig, producer: &Producer, group: &str, topics: &[&str], handler: H) -> Result<Self> {
        let client = settings(config, group)
            .create_with_context(Group::new(group, producer.metrics().clone()))
            .map_err(misconfigured)?;
        Ok(Self {
            client,
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            handler,
            producer: producer.clone(),
            waiting: VecDeque::new(),
        })
    }

    /// Works until the shutdown, then leaves the group so that others take over at once.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        note("subscribe", self.client.subscribe(&topics));
        loop {
            let batch = tokio::select! {
                batch = self.next_batch() => batch,
                () = shutdown.cancelled() => break,
            };
            if self.work(batch, &shutdown).await.is_err() {
                break;
            }
            note("commit", self.client.commit_consumer_state(CommitMode::Async));
        }
        self.leave().await;
    }

    /// What is there, or the next that comes.
    async fn next_batch(&mut self) -> Vec<Fetched> {
        self.forget_lost();
        if self.waiting.is_empty() {
            let first = next(&self.client).await;
            self.waiting.push_back(first);
        }
        while self.waiting.len() < BATCH {
            match next(&self.client).now_or_never() {
                Some(record) => self.waiting.push_back(record),
                None => break,
            }
        }
        let batch = self.waiting.len().min(BATCH);
        self.waiting.drain(..batch).collect()
    }

    /// Leaves to its new owner what was fetched of a partition before it moved.
    fn forget_lost(&mut self) {
        if let Ok(assigned) = self.client.assignment() {
            self.waiting.retain(|record| assigned.find_partition(&record.topic, record.partition).is_some());
        }
    }

    async fn work(&mut self, batch: Vec<Fetched>, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let mut ends = Ends::new();
        let mut events = Vec::with_capacity(batch.len());
        let mut malformed = Vec::new();
        for record in batch {
            let end = ends.entry((record.topic.clone(), record.partition)).or_default();
            *end = End { offset: record.offset, records: end.records + 1 };
            match Received::read(record) {
                Ok(event) => events.push(event),
                Err(no_event) => malformed.push(no_event),
            }
        }
        if let Fate::Poison(_) = self.attempt(&events, shutdown).await? {
            // One of them, or some. Alone each shows what it is.
            for event in &events {
                self.work_alone(event, shutdown).await?;
            }
        }
        for no_event in &malformed {
            self.bury(&no_event.record, &no_event.reason, shutdown).await?;
        }
        self.done(ends);
        Ok(())
    }

    async fn work_alone(&mut self, event: &Received, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let mut tries = 1;
        loop {
            match self.attempt(std::slice::from_ref(event), shutdown).await? {
                Fate::Done => return Ok(()),
                Fate::Poison(error) if tries == TRIES => {
                    return self.bury(&event.record, &error.to_string(), shutdown).await;
                }
                Fate::Poison(_) => self.wait(RETRY_AFTER, shutdown).await?,
            }
            tries += 1;
        }
    }

    /// Hands events to the handler, again and again while what it needs is away.
    async fn attempt(&mut self, events: &[Received], shutdown: &CancellationToken) -> Result<Fate, Stopped> {
        if events.is_empty() {
            return Ok(Fate::Done);
        }
        for pause in backoff() {
            match self.handle(events).await {
                Ok(()) => break,
                Err(Error::Unavailable { dependency, source }) => {
                    tracing::warn!(group = self.group, dependency, error = %source, "projection waits");
                    self.wait(pause, shutdown).await?;
                }
                Err(error) => return Ok(Fate::Poison(error)),
            }
        }
        Ok(Fate::Done)
    }

    /// Keeps fetching meanwhile: the group and the measure of the lag hear of us only as long as we poll.
    async fn handle(&mut self, events: &[Received]) -> Result<()> {
        let Self { client, group, handler, waiting, .. } = self;
        // They end with the work.
        let _spans: Vec<Span> = events.iter().map(|event| span(group, &event.record)).collect();
        // A handler that panics has met poison; the others must not suffer for it.
        let handled = AssertUnwindSafe(handler.handle(events)).catch_unwind();
        tokio::pin!(handled);
        loop {
            tokio::select! {
                biased;
                handled = &mut handled => {
                    return handled.unwrap_or_else(|_| Err(Error::internal("the handler panicked")));
                }
                record = next(client), if waiting.len() < BATCH => waiting.push_back(record),
            }
        }
    }

    /// Puts a record aside, however long that takes: it is nowhere else once its offset is committed.
    async fn bury(&mut self, record: &Fetched, reason: &str, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let dead = dead_letters::record(record, &self.group, reason);
        tracing::error!(
            group = self.group,
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            reason,
            "record goes to the dead letters"
        );
        for pause in backoff() {
            match self.publish(dead.clone()).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, "a dead letter waits");
                    self.wait(pause, shutdown).await?;
                }
            }
        }
        Ok(())
    }

    async fn publish(&self, record: Record) -> Result<()> {
        self.producer.send(record)?.await
    }

    /// Lets time pass without leaving the group: a member that does not poll holds up every rebalance and is expelled.
    async fn wait(&mut self, pause: Duration, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let Self { client, waiting, .. } = self;
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        hold(client);
        loop {
            tokio::select! {
                () = &mut over => break,
                () = shutdown.cancelled() => return Err(Stopped),
                // Of a partition that we were given meanwhile.
                record = next(client) => {
                    waiting.push_back(record);
                    hold(client);
                }
            }
        }
        let assigned = client.assignment();
        note("resume", assigned.and_then(|partitions| client.resume(&partitions)));
        Ok(())
    }

    /// Remembers that everything up to these ends is done, to be committed with the next commit.
    fn done(&self, ends: Ends) {
        for ((topic, partition), end) in ends {
            // Fails for a partition that is no longer ours; its new owner does the work again.
            note("store offset", self.client.store_offset(&topic, partition, end.offset));
            self.producer.metrics().consumed.with_label_values(&[&self.group, &topic]).inc_by(end.records);
        }
    }

    async fn leave(self) {
        let client = self.client;
        // Both wait for the brokers.
        let left = tokio::task::spawn_blocking(move || {
            note("last commit", client.commit_consumer_state(CommitMode::Sync));
            drop(client);
        });
        if left.await.is_err() {
            tracing::warn!(group = self.group, "the group was not left cleanly");
        }
    }
}

/// The next record; the client gets over errors by itself.
async fn next(client: &StreamConsumer<Group>) -> Fetched {
    loop {
        match client.recv().await {
            Ok(message) => return Fetched::from(&message),
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                tracing::error!(%error, "the consumer failed for good");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => tracing::warn!(%error, "consumer"),
        }
    }
}

fn span(group: &str, record: &Fetched) -> Span {
    let span = tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "process",
        otel.name = format!("process {}", record.topic),
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.destination.name = record.topic,
        messaging.consumer.group.name = group,
    );
    trace::follow(span, record.header(trace::TRACEPARENT))
}

fn hold(client: &StreamConsumer<Group>) {
    let assigned = client.assignment();
    note("pause", assigned.and_then(|partitions| client.pause(&partitions)));
}
