//! The metrics of chat-service.

use platform::telemetry;
use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge};

use crate::domain::MessageType;
use crate::live::Hub;
use crate::writer::Writer;

pub struct Metrics {
    pub messages_sent: IntCounterVec,
    pub processing: HistogramVec,
    pub rooms_created: IntCounterVec,
    pub uploads: IntCounterVec,
    pub file_checks: IntCounterVec,
    pub sse_connections: IntGauge,
    pub delivery: Histogram,
}

impl Metrics {
    pub fn register(metrics: &telemetry::Metrics) -> Result<Self, prometheus::Error> {
        let sent = metrics.counters("message_sent_total", "Messages accepted", &["message_type"])?;
        let rooms = metrics.counters("chat_room_created_total", "Rooms created", &["room_type"])?;
        // The series start at zero, so that a rate includes the first increment.
        for message_type in [MessageType::Text, MessageType::Image, MessageType::File, MessageType::System] {
            sent.with_label_values(&[message_type.as_str()]);
        }
        let uploads = metrics.counters("upload_total", "Uploads of files by their outcome", &["outcome"])?;
        for outcome in ["requested", "sent", "expired", "deleted"] {
            uploads.with_label_values(&[outcome]);
        }
        let file_checks = metrics.counters("file_check_total", "Checks of files by their outcome", &["outcome"])?;
        for outcome in ["ready", "not_an_image", "rejected", "failed"] {
            file_checks.with_label_values(&[outcome]);
        }
        for room_type in ["direct", "group"] {
            rooms.with_label_values(&[room_type]);
        }
        let delivery = metrics.durations(
            "message_delivery_duration_seconds",
            "Time from a message's arrival until the streams of this replica can send it",
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
            uploads,
            file_checks,
            sse_connections: metrics.gauge("active_sse_connections", "Open live streams")?,
            delivery: delivery.with_label_values::<&str>(&[]),
        })
    }
}

/// Registers the gauges that are computed at each scrape.
pub fn register_gauges(metrics: &telemetry::Metrics, writer: &Writer, hub: &Hub) -> Result<(), prometheus::Error> {
    let (hub, windows) = (hub.clone(), hub.clone());
    metrics.gauge_of("message_queue_length", "Requests in the queue of the writer", writer.queue_length())?;
    metrics.gauge_of("stream_window_bytes", "Memory of the newest events of rooms with open streams", move || {
        windows.window_bytes() as i64
    })?;
    metrics.gauge_of("active_chat_rooms", "Rooms with open streams on this replica", move || hub.room_count() as i64)
}
