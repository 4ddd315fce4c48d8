//! What chat-service hears, and what it tells of messages and reads: the change and its event commit together, and this
//! is their relay.

mod heard;
mod told;

use std::time::Duration;

use chrono::Utc;
use common::error::Result;
use common::id::RoomId;
use common::kafka::TopicNames;
use common::kafka::producer::{Producer, Record, Trace};
use common::telemetry::Metrics;
use futures_util::future::join_all;
use mongodb::bson::{self, Bson};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{Pending, Unsent, UnsentEvents};

pub use heard::Ears;
pub use told::{of_message, of_read};

/// Reports of this long are cleared together.
const CLEAR_EVERY: Duration = Duration::from_millis(100);

/// As many marks are cleared in one command at most.
const CLEAR_AT_ONCE: usize = 1_000;

/// What has been pending for longer was left by a crash or an outage: longer than a delivery may take.
const OVERDUE: Duration = Duration::from_secs(15);

/// How often what is overdue is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What the end of the process leaves for it.
const FLUSH: Duration = Duration::from_secs(2);

/// Overdue events that are sent again at once.
const SWEEP_AT_ONCE: i64 = 500;

/// The document of an event, its room and the event.
pub type Committed = (Bson, RoomId, Pending);

/// Publishes what was committed to one collection, and clears its mark when Kafka has it.
#[derive(Clone)]
pub struct Relay {
    unsent: UnsentEvents,
    producer: Producer,
    topics: TopicNames,
    metrics: Metrics,
    delivered: mpsc::UnboundedSender<Bson>,
}

impl Relay {
    pub fn start(unsent: UnsentEvents, producer: Producer, topics: TopicNames, metrics: Metrics) -> Self {
        let (delivered, reports) = mpsc::unbounded_channel();
        tokio::spawn(clear(unsent.clone(), reports));
        Self { unsent, producer, topics, metrics, delivered }
    }

    /// Sends events in commit order. No one waits: what does not get through keeps its mark, and the sweeper sends it.
    pub fn publish(&self, committed: Vec<Committed>) {
        let mut reports = Vec::with_capacity(committed.len());
        for (id, room, event) in committed {
            match self.producer.send(self.record(room, event)) {
                Ok(report) => reports.push(async move { report.await.map(|()| id) }),
                Err(e) => {
                    // The later ones of the room must not overtake it; the sweeper keeps their order.
                    tracing::debug!(error = %e, "event stays pending");
                    break;
                }
            }
        }
        if reports.is_empty() {
            return;
        }
        let delivered = self.delivered.clone();
        tokio::spawn(async move {
            for id in join_all(reports).await.into_iter().flatten() {
                // Its receiver lives as long as this sender.
                let _ = delivered.send(id);
            }
        });
    }

    fn record(&self, room: RoomId, Pending { payload, request_id, traceparent }: Pending) -> Record {
        let trace = Trace { request_id, traceparent };
        Record {
            topic: self.topics.message_events.clone(),
            key: room.to_string(),
            payload: payload.into(),
            headers: trace.headers(),
        }
    }

    /// Sends again what a crash or an outage left, until the shutdown; then sees off what is on its way.
    pub async fn sweep(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopping.cancelled() => return self.producer.flush(FLUSH).await,
            }
            if let Err(e) = self.sweep_once().await {
                tracing::warn!(error = %e, "overdue events stay pending");
            }
            if let Err(e) = self.measure().await {
                tracing::debug!(error = %e, "what is pending cannot be measured");
            }
        }
    }

    async fn measure(&self) -> Result<()> {
        let (pending, oldest) = self.unsent.backlog().await?;
        let age = oldest.map(|oldest| (Utc::now() - oldest).to_std().unwrap_or_default());
        self.metrics.outbox(self.unsent.name(), pending, age.unwrap_or_default());
        Ok(())
    }

    async fn sweep_once(&self) -> Result<()> {
        // One replica at a time, or each would send all of it.
        while self.unsent.lease(3 * SWEEP_EVERY).await? {
            let overdue = self.unsent.overdue(id_before(OVERDUE), SWEEP_AT_ONCE).await?;
            if overdue.is_empty() {
                break;
            }
            tracing::info!(events = overdue.len(), "overdue events are sent again");
            self.resend(overdue).await?;
        }
        Ok(())
    }

    /// Sends events again, of each room in order, and waits for the reports.
    async fn resend(&self, overdue: Vec<Unsent>) -> Result<()> {
        let mut reports = Vec::with_capacity(overdue.len());
        for unsent in overdue {
            let Some(room) = unsent.room() else { continue };
            let report = self.producer.send(self.record(room, unsent.pending))?;
            reports.push(async move { report.await.map(|()| unsent.id) });
        }
        let (arrived, failed): (Vec<_>, Vec<_>) = join_all(reports).await.into_iter().partition(Result::is_ok);
        let arrived: Vec<Bson> = arrived.into_iter().flatten().collect();
        self.unsent.clear(&arrived).await?;
        failed.into_iter().collect::<Result<Vec<_>>>().map(|_| ())
    }
}

/// The smallest id of an event that is younger than `age`.
fn id_before(age: Duration) -> bson::Uuid {
    let at = Utc::now() - age;
    let time = uuid::Timestamp::from_unix(uuid::NoContext, at.timestamp().unsigned_abs(), at.timestamp_subsec_nanos());
    let mut bytes = Uuid::new_v7(time).into_bytes();
    bytes[6..].fill(0);
    bson::Uuid::from_bytes(bytes)
}

async fn clear(unsent: UnsentEvents, mut delivered: mpsc::UnboundedReceiver<Bson>) {
    let mut batch = Vec::new();
    while delivered.recv_many(&mut batch, CLEAR_AT_ONCE).await > 0 {
        if let Err(e) = unsent.clear(&batch).await {
            // They are sent again, and dropped by their event_id.
            tracing::debug!(error = %e, "delivered events keep their mark");
        }
        batch.clear();
        tokio::time::sleep(CLEAR_EVERY).await;
    }
}
