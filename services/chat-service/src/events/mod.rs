//! What chat-service tells the others of messages: the log is the outbox, and this is its relay.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::Result;
use common::events::chat::{MessageDeleted, MessageEdited, MessageSent};
use common::events::{Event, encode};
use common::id::UserId;
use common::kafka::TopicNames;
use common::kafka::producer::{Producer, Record, Trace};
use futures_util::future::join_all;
use mongodb::bson;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{Kind, Message};
use crate::store::{Entry, Log, Place};

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

/// An event on its way to Kafka.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub payload: String,
    pub trace: Trace,
}

/// The event of something that happened to a message.
pub fn outgoing(
    message: &Message,
    kind: Kind,
    by: UserId,
    place: Place,
    event_id: Uuid,
    at: DateTime<Utc>,
    trace: &Trace,
) -> Result<Outgoing> {
    let payload = match kind {
        Kind::Sent => json(event_id, at, &sent(message, place)),
        Kind::Edited => json(event_id, at, &edited(message, by, place)),
        Kind::Deleted => json(event_id, at, &deleted(message, by, place)),
    }?;
    Ok(Outgoing { payload, trace: trace.clone() })
}

fn json<E: Event>(event_id: Uuid, at: DateTime<Utc>, event: &E) -> Result<String> {
    String::from_utf8(encode(event_id, None, at, event)?).map_err(common::error::Error::internal)
}

fn sent(message: &Message, place: Place) -> MessageSent {
    MessageSent {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: message.user_id,
        username: message.username.clone().unwrap_or_default(),
        content: message.content.clone(),
        message_type: message.message_type.as_str().to_owned(),
        seq: place.at,
        position: place.at,
        client_message_id: message.client_message_id.clone(),
        reply_to: message.reply_to.clone(),
    }
}

fn edited(message: &Message, by: UserId, place: Place) -> MessageEdited {
    MessageEdited {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: by,
        content: message.content.clone(),
        edited_at: message.edited_at.unwrap_or(message.updated_at),
        position: place.at,
    }
}

fn deleted(message: &Message, by: UserId, place: Place) -> MessageDeleted {
    MessageDeleted { message_id: message.id.to_hex(), room_id: message.room_id, deleted_by: by, position: place.at }
}

/// Publishes what was committed, and clears its mark when Kafka has it.
#[derive(Clone)]
pub struct MessageEvents {
    log: Log,
    producer: Producer,
    topics: TopicNames,
    delivered: mpsc::UnboundedSender<Place>,
}

impl MessageEvents {
    pub fn new(log: Log, producer: Producer, topics: TopicNames) -> Self {
        let (delivered, reports) = mpsc::unbounded_channel();
        tokio::spawn(clear(log.clone(), reports));
        Self { log, producer, topics, delivered }
    }

    /// Sends events in commit order. No one waits: what does not get through keeps its mark, and the sweeper sends it.
    pub fn publish(&self, committed: Vec<(Place, Outgoing)>) {
        let mut reports = Vec::with_capacity(committed.len());
        for (place, event) in committed {
            match self.producer.send(self.record(place, event.payload, &event.trace)) {
                Ok(report) => reports.push(async move { report.await.map(|()| place) }),
                Err(e) => {
                    // A later event of the room must not overtake this one by much; the sweeper keeps their order.
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
            for place in join_all(reports).await.into_iter().flatten() {
                let _ = delivered.send(place);
            }
        });
    }

    fn record(&self, place: Place, payload: String, trace: &Trace) -> Record {
        Record {
            topic: self.topics.message_events.clone(),
            key: place.room.to_string(),
            payload: payload.into(),
            headers: trace.headers(),
        }
    }

    /// Sends again what a crash or an outage left, until the shutdown.
    pub async fn sweep(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopping.cancelled() => return,
            }
            if let Err(e) = self.sweep_once().await {
                tracing::warn!(error = %e, "overdue events stay pending");
            }
        }
    }

    /// At the end of the process: what was committed gets to Kafka now, not when another replica finds it overdue.
    pub async fn flush(self, stopping: CancellationToken) {
        stopping.cancelled().await;
        self.producer.flush(FLUSH).await;
    }

    async fn sweep_once(&self) -> Result<()> {
        if !self.log.lease_sweep(3 * SWEEP_EVERY).await? {
            return Ok(());
        }
        loop {
            let overdue = self.log.overdue(id_before(OVERDUE), SWEEP_AT_ONCE).await?;
            if overdue.is_empty() {
                return Ok(());
            }
            tracing::info!(events = overdue.len(), "overdue events are sent again");
            self.resend(overdue).await?;
        }
    }

    /// Sends entries again, of each room in order, and waits for the reports.
    async fn resend(&self, overdue: Vec<Entry>) -> Result<()> {
        let mut reports = Vec::with_capacity(overdue.len());
        for entry in overdue {
            let Some(pending) = entry.pending else { continue };
            let trace = Trace { request_id: pending.request_id, traceparent: pending.traceparent };
            let report = self.producer.send(self.record(entry.place, pending.payload, &trace))?;
            reports.push(async move { report.await.map(|()| entry.place) });
        }
        let places = join_all(reports).await.into_iter().collect::<Result<Vec<_>>>()?;
        self.log.clear(&places).await
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

async fn clear(log: Log, mut delivered: mpsc::UnboundedReceiver<Place>) {
    let mut batch = Vec::new();
    while delivered.recv_many(&mut batch, CLEAR_AT_ONCE).await > 0 {
        if let Err(e) = log.clear(&batch).await {
            // They are sent again, and dropped by their event_id.
            tracing::debug!(error = %e, "delivered events keep their mark");
        }
        batch.clear();
        tokio::time::sleep(CLEAR_EVERY).await;
    }
}
