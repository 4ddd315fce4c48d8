//! The relay: publishes committed events, and events that a crash or an outage left in the outbox.

use std::time::Duration;

use bson::Bson;
use chrono::{DateTime, Utc};
use common::error::Error;
use common::events::topics::TopicNames;
use common::id::RoomId;
use engines::error::Result;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use futures_util::future::join_all;
use platform::task::every;
use platform::telemetry::{Metrics, Trace};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{OutboxCollection, OutboxEntry, OutboxEvent, StoreClock};

/// Interval at which acknowledged events are removed from the outbox. Those of the last interval before a kill are published again.
const CLEAR_INTERVAL: Duration = Duration::from_secs(1);

/// Limit on the events that one command removes.
const CLEAR_BATCH: usize = 1_000;

/// A pending event of this age was left by a crash or an outage: a delivery takes less time.
const OVERDUE: Duration = Duration::from_secs(15);

/// Interval between two looks for overdue events.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Time at the shutdown for records that wait in the producer.
const FLUSH: Duration = Duration::from_secs(2);

/// Limit on the overdue events that are read at once.
const SWEEP_BATCH: i64 = 500;

/// Publishes the events of one collection, and removes them from it when Kafka has acknowledged them.
#[derive(Clone)]
pub struct Relay {
    outbox: OutboxCollection,
    clock: StoreClock,
    producer: Producer,
    topics: TopicNames,
    metrics: Metrics,
    acknowledged: mpsc::UnboundedSender<Bson>,
}

impl Relay {
    /// Creates the relay and starts the task that removes acknowledged events.
    pub fn start(
        outbox: OutboxCollection,
        clock: StoreClock,
        producer: Producer,
        topics: TopicNames,
        metrics: Metrics,
    ) -> Self {
        let (acknowledged, ids) = mpsc::unbounded_channel();
        tokio::spawn(clear(outbox.clone(), ids));
        Self { outbox, clock, producer, topics, metrics, acknowledged }
    }

    /// Publishes committed events in commit order, without waiting. An event that fails stays in the outbox for the sweep.
    pub fn publish(&self, committed: Vec<OutboxEntry>) {
        let mut reports = Vec::with_capacity(committed.len());
        for entry in committed {
            let Some(room) = entry.room() else { continue };
            let OutboxEntry { id, event } = entry;
            match self.producer.send(self.record(room, event)) {
                Ok(report) => reports.push(async move { report.await.map(|()| id) }),
                // The sweep makes it a dead letter. The events behind it need not wait.
                Err(e) if matches!(e.get_ref(), Error::Internal(_)) => {
                    tracing::warn!(error = %e, "brokers do not accept an event");
                }
                Err(e) => {
                    // Later events of the room must not overtake this one. The sweep keeps their order.
                    tracing::debug!(error = %e, "event stays in the outbox");
                    break;
                }
            }
        }
        if reports.is_empty() {
            return;
        }
        let acknowledged = self.acknowledged.clone();
        tokio::spawn(async move {
            for id in join_all(reports).await.into_iter().flatten() {
                // The receiver lives as long as this sender.
                let _ = acknowledged.send(id);
            }
        });
    }

    fn record(&self, room: RoomId, OutboxEvent { payload, request_id, traceparent }: OutboxEvent) -> Record {
        let trace = Trace { request_id, traceparent };
        Record {
            topic: self.topics.message_events.clone(),
            key: room.to_string(),
            payload: payload.into(),
            headers: trace.headers(),
        }
    }

    /// Publishes overdue events until the shutdown, then flushes the producer.
    pub async fn sweep(mut self, stopping: CancellationToken) {
        every(SWEEP_INTERVAL, "outbox sweep", &stopping, &mut self, Self::sweep_once).await;
        self.producer.flush(FLUSH).await;
    }

    async fn sweep_once(&mut self) -> Result<()> {
        let published = self.publish_overdue().await;
        if let Err(e) = self.measure().await {
            tracing::debug!(error = %e, "cannot measure the outbox");
        }
        published
    }

    async fn publish_overdue(&self) -> Result<()> {
        // One replica at a time. Otherwise each would publish all of them.
        while self.outbox.lease(self.clock.now(), 3 * SWEEP_INTERVAL).await? {
            let overdue = self.outbox.overdue(id_before(self.clock.now() - OVERDUE), SWEEP_BATCH).await?;
            if overdue.is_empty() {
                break;
            }
            tracing::info!(events = overdue.len(), "publishing overdue events");
            self.republish(overdue).await?;
        }
        Ok(())
    }

    async fn measure(&self) -> Result<()> {
        let (pending, oldest) = self.outbox.backlog().await?;
        let age = oldest.map(|oldest| (self.clock.now() - oldest).to_std().unwrap_or_default());
        self.metrics.outbox(self.outbox.name(), pending, age.unwrap_or_default());
        Ok(())
    }

    /// Publishes events, those of each room in order, and waits for the reports. What is acknowledged is removed from the
    /// outbox, whatever happens to the others.
    ///
    /// # Errors
    /// Returns an error if no event was acknowledged.
    async fn republish(&self, overdue: Vec<OutboxEntry>) -> Result<()> {
        let (mut reports, mut failure) = (Vec::with_capacity(overdue.len()), None);
        for entry in overdue {
            let Some(room) = entry.room() else { continue };
            match self.producer.deliver(self.record(room, entry.event)) {
                Ok(report) => reports.push(async move { report.await.map(|()| entry.id) }),
                Err(e) => {
                    // The queue is full. The later events of the room must not overtake this one.
                    failure = Some(e);
                    break;
                }
            }
        }
        let mut acknowledged = Vec::with_capacity(reports.len());
        for report in join_all(reports).await {
            match report {
                Ok(id) => acknowledged.push(id),
                Err(e) => failure = Some(e),
            }
        }
        self.outbox.clear(&acknowledged).await?;
        match failure {
            Some(e) if acknowledged.is_empty() => Err(e),
            Some(e) => {
                tracing::warn!(error = %e, "some overdue events stay in the outbox");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The lowest id of an event of that time or later.
fn id_before(at: DateTime<Utc>) -> bson::Uuid {
    let time = uuid::Timestamp::from_unix(uuid::NoContext, at.timestamp().unsigned_abs(), at.timestamp_subsec_nanos());
    let mut bytes = Uuid::new_v7(time).into_bytes();
    bytes[6..].fill(0);
    bson::Uuid::from_bytes(bytes)
}

async fn clear(outbox: OutboxCollection, mut acknowledged: mpsc::UnboundedReceiver<Bson>) {
    let mut batch = Vec::new();
    while acknowledged.recv_many(&mut batch, CLEAR_BATCH).await > 0 {
        if let Err(e) = outbox.clear(&batch).await {
            // The sweep publishes them again, and consumers drop the repeats by `event_id`.
            tracing::debug!(error = %e, "acknowledged events stay in the outbox");
        }
        if batch.len() < CLEAR_BATCH {
            tokio::time::sleep(CLEAR_INTERVAL).await;
        }
        batch.clear();
    }
}
