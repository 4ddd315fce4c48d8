//! What chat-service counts.

use common::telemetry;
use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge};

use crate::domain::MessageType;
use crate::live::Hub;
use crate::writer::Writer;

pub struct Metrics {
    pub messages_sent: IntCounterVec,
    pub processing: HistogramVec,
    pub rooms_created: IntCounterVec,
    pub sse_connections: IntGauge,
    pub delivery: Histogram,
}

impl Metrics {
    pub fn register(metrics: &telemetry::Metrics) -> Result<Self, prometheus::Error> {
        let sent = metrics.counters("message_sent_total", "Messages accepted", &["message_type"])?;
        let rooms = metrics.counters("chat_room_created_total", "Rooms created", &["room_type"])?;
        // Counted from zero, so that a rate over the first one is seen.
        for message_type in [MessageType::Text, MessageType::Image, MessageType::File, MessageType::System] {
            sent.with_label_values(&[message_type.as_str()]);
        }
        for room_type in ["direct", "group"] {
            rooms.with_label_values(&[room_type]);
        }
        let delivery = metrics.durations(
            "message_delivery_duration_seconds",
            "Time from a message's arrival until the readers of this replica can have it",
            &[],
        )?;
        Ok(Self {
            messages_sent: sent,
            processing: metrics.durations(
                "message_processing_duration_seconds",
                "Time from a message's arrival to its commit",
                &[],
            )?,
            rooms_created: rooms,
            sse_connections: metrics.gauge("active_sse_connections", "Open live streams")?,
            delivery: delivery.with_label_values::<&str>(&[]),
        })
    }
}

/// What is read when it is asked for.
pub fn watch(metrics: &telemetry::Metrics, writer: &Writer, hub: &Hub) -> Result<(), prometheus::Error> {
    let hub = hub.clone();
    metrics.gauge_of("message_queue_length", "Changes of rooms that wait for the writer", writer.waiting())?;
    metrics.gauge_of("active_chat_rooms", "Rooms to which someone listens on this replica", move || {
        hub.listened_rooms() as i64
    })
}
