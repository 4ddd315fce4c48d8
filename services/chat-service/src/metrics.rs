//! What chat-service counts.

use common::telemetry;
use prometheus::{HistogramVec, IntCounterVec, IntGauge};

pub struct Metrics {
    pub messages_sent: IntCounterVec,
    pub processing: HistogramVec,
    pub rooms_created: IntCounterVec,
    pub sse_connections: IntGauge,
}

impl Metrics {
    pub fn register(metrics: &telemetry::Metrics) -> Result<Self, prometheus::Error> {
        Ok(Self {
            messages_sent: metrics.counters("message_sent_total", "Messages accepted", &["message_type"])?,
            processing: metrics.durations(
                "message_processing_duration_seconds",
                "Time from a message's arrival to its commit",
                &[],
            )?,
            rooms_created: metrics.counters("chat_room_created_total", "Rooms created", &["room_type"])?,
            sse_connections: metrics.gauge("active_sse_connections", "Open live streams")?,
        })
    }
}
