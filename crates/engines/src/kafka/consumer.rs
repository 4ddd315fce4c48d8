//! The runner of projections: a consumer group whose offsets are committed after the work.
//!
//! A projection builds state of its own from events. Records are processed in batches. While a dependency of the
//! handler is unavailable, the partitions are paused. A record that cannot be processed in three attempts goes to the
//! dead letters, and the other records follow.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use common::error::Error as CommonError;
use futures_util::FutureExt;
use platform::config::KafkaConfig;
use platform::telemetry::trace;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::error::{Error, Result};
use crate::kafka::client::{backoff, log_error, misconfigured};
use crate::kafka::dead_letters;
use crate::kafka::group::{Group, settings};
use crate::kafka::producer::Producer;
use crate::kafka::received::{Malformed, Received};
use crate::kafka::record::{Fetched, Record};

/// The attempts at a record whose failure is not an unavailable dependency.
const ATTEMPTS: u32 = 3;

/// The pause between these attempts.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The greatest number of records in a batch.
const BATCH: usize = 500;

/// A projection.
pub trait Handler: Send + Sync + 'static {
    /// Processes events, those of one key in order. The events may be delivered again, alone or with others, and a
    /// repetition must change nothing. Events of unknown types are ignored.
    ///
    /// # Errors
    /// After an unavailable error, all events are delivered again later. Any other error means that one of the events
    /// cannot be processed.
    fn handle(&self, events: &[Received]) -> impl Future<Output = Result<()>> + Send;
}

/// A member of a projection's consumer group.
pub struct Consumer<H> {
    client: StreamConsumer<Group>,
    group: String,
    topics: Vec<String>,
    handler: H,
    producer: Producer,
    /// Records that were fetched during the work.
    fetched: VecDeque<Fetched>,
}

/// The process ends. The next owner of the partition processes the remaining records.
struct Stopped;

/// The ends of a batch, by topic and partition.
type Ends = HashMap<(String, i32), End>;

#[derive(Default)]
struct End {
    offset: i64,
    records: u64,
}

/// The outcome of an attempt.
enum Outcome {
    Done,
    /// An event cannot be processed.
    Poison(Error),
}

impl<H: Handler> Consumer<H> {
    /// All replicas use the same `group` and share the partitions of `topics`. The metrics are those of `producer`,
    /// which also publishes the dead letters.
    ///
    /// # Errors
    /// Returns an internal error if librdkafka rejects the configuration.
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
            fetched: VecDeque::new(),
        })
    }

    /// Processes records until the shutdown, then leaves the group, so that other members take over at once.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        log_error("subscribe", self.client.subscribe(&topics));
        loop {
            let batch = tokio::select! {
                batch = self.next_batch() => batch,
                () = shutdown.cancelled() => break,
            };
            if self.process(batch, &shutdown).await.is_err() {
                break;
            }
            log_error("commit", self.client.commit_consumer_state(CommitMode::Async));
        }
        self.leave().await;
    }

    /// The records that are available, at least one.
    async fn next_batch(&mut self) -> Vec<Fetched> {
        self.drop_revoked();
        if self.fetched.is_empty() {
            let first = next(&self.client).await;
            self.fetched.push_back(first);
        }
        while self.fetched.len() < BATCH {
            match next(&self.client).now_or_never() {
                Some(record) => self.fetched.push_back(record),
                None => break,
            }
        }
        let batch = self.fetched.len().min(BATCH);
        self.fetched.drain(..batch).collect()
    }

    /// Drops fetched records of partitions that have moved to another member.
    fn drop_revoked(&mut self) {
        if let Ok(assigned) = self.client.assignment() {
            self.fetched.retain(|record| assigned.find_partition(&record.topic, record.partition).is_some());
        }
    }

    async fn process(&mut self, batch: Vec<Fetched>, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let mut ends = Ends::new();
        let mut events = Vec::with_capacity(batch.len());
        let mut malformed = Vec::new();
        for record in batch {
            let end = ends.entry((record.topic.clone(), record.partition)).or_default();
            *end = End { offset: record.offset, records: end.records + 1 };
            match Received::read(record) {
                Ok(event) => events.push(event),
                Err(record) => malformed.push(record),
            }
        }
        if let Outcome::Poison(_) = self.attempt(&events, shutdown).await? {
            // At least one cannot be processed. Each is attempted alone.
            for event in &events {
                self.process_alone(event, shutdown).await?;
            }
        }
        for Malformed { reason, record } in malformed.iter().map(|malformed| &**malformed) {
            self.dead_letter(record, reason, shutdown).await?;
        }
        self.store_offsets(ends);
        Ok(())
    }

    async fn process_alone(&mut self, event: &Received, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let mut attempts = 1;
        loop {
            match self.attempt(std::slice::from_ref(event), shutdown).await? {
                Outcome::Done => return Ok(()),
                Outcome::Poison(error) if attempts == ATTEMPTS => {
                    return self.dead_letter(&event.record, &error.to_string(), shutdown).await;
                }
                Outcome::Poison(_) => self.wait(RETRY_AFTER, shutdown).await?,
            }
            attempts += 1;
        }
    }

    /// Passes events to the handler, repeatedly while a dependency is unavailable.
    async fn attempt(&mut self, events: &[Received], shutdown: &CancellationToken) -> Result<Outcome, Stopped> {
        if events.is_empty() {
            return Ok(Outcome::Done);
        }
        for pause in backoff() {
            let Err(error) = self.handle(events).await else { break };
            let CommonError::Unavailable { dependency, source } = error.get_ref() else {
                return Ok(Outcome::Poison(error));
            };
            tracing::warn!(group = self.group, dependency, error = %source, "projection waits");
            self.wait(pause, shutdown).await?;
        }
        Ok(Outcome::Done)
    }

    /// Fetches records meanwhile, because a member that does not poll leaves the group and reports no lag.
    async fn handle(&mut self, events: &[Received]) -> Result<()> {
        let Self { client, group, handler, fetched, .. } = self;
        // The spans end with the work.
        let _spans: Vec<Span> = events.iter().map(|event| span(group, &event.record)).collect();
        // A panic means that an event cannot be processed. The others must be processed nevertheless.
        let handled = AssertUnwindSafe(handler.handle(events)).catch_unwind();
        tokio::pin!(handled);
        loop {
            tokio::select! {
                biased;
                handled = &mut handled => {
                    return handled.unwrap_or_else(|_| Err(CommonError::internal("the handler panicked").into()));
                }
                record = next(client), if fetched.len() < BATCH => fetched.push_back(record),
            }
        }
    }

    /// Publishes a record to the dead letters, however long that takes, because it is lost once its offset is
    /// committed.
    async fn dead_letter(
        &mut self,
        record: &Fetched,
        reason: &str,
        shutdown: &CancellationToken,
    ) -> Result<(), Stopped> {
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
                    tracing::warn!(%error, "a dead letter cannot be published yet");
                    self.wait(pause, shutdown).await?;
                }
            }
        }
        Ok(())
    }

    async fn publish(&self, record: Record) -> Result<()> {
        self.producer.send(record)?.await
    }

    /// Waits without leaving the group: a member that does not poll delays every rebalance and is removed.
    async fn wait(&mut self, pause: Duration, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let Self { client, fetched, .. } = self;
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        pause_all(client);
        loop {
            tokio::select! {
                () = &mut over => break,
                () = shutdown.cancelled() => return Err(Stopped),
                // The record is of a partition that was assigned meanwhile.
                record = next(client) => {
                    fetched.push_back(record);
                    pause_all(client);
                }
            }
        }
        let assigned = client.assignment();
        log_error("resume", assigned.and_then(|partitions| client.resume(&partitions)));
        Ok(())
    }

    /// Stores the ends of a processed batch, for the next commit.
    fn store_offsets(&self, ends: Ends) {
        for ((topic, partition), end) in ends {
            // Fails for a partition that has moved. Its new owner processes the records again.
            log_error("store offset", self.client.store_offset(&topic, partition, end.offset));
            self.producer.metrics().consumed.with_label_values(&[&self.group, &topic]).inc_by(end.records);
        }
    }

    async fn leave(self) {
        let client = self.client;
        // Both steps wait for the brokers.
        let left = tokio::task::spawn_blocking(move || {
            log_error("last commit", client.commit_consumer_state(CommitMode::Sync));
            drop(client);
        });
        if left.await.is_err() {
            tracing::warn!(group = self.group, "the consumer did not leave its group cleanly");
        }
    }
}

/// The next record. The client recovers from errors by itself.
async fn next(client: &StreamConsumer<Group>) -> Fetched {
    loop {
        match client.recv().await {
            Ok(message) => return Fetched::from(&message),
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                tracing::error!(%error, "the consumer failed fatally");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => tracing::warn!(%error, "consumer error"),
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

fn pause_all(client: &StreamConsumer<Group>) {
    let assigned = client.assignment();
    log_error("pause", assigned.and_then(|partitions| client.pause(&partitions)));
}
