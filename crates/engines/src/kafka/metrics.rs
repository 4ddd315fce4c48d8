//! The metrics of a process's Kafka clients.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use rdkafka::statistics::{Partition, Statistics};

/// The counters of a process, registered once with its producer.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) published: IntCounterVec,
    pub(super) consumed: IntCounterVec,
    pub(super) lag: IntGaugeVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let published = Opts::new("kafka_events_published_total", "Records that the brokers have acknowledged");
        let consumed = Opts::new("kafka_events_consumed_total", "Records that were processed");
        let lag = Opts::new("kafka_consumer_lag", "Records behind the end of an assigned partition");
        let metrics = Self {
            published: IntCounterVec::new(published, &["topic"])?,
            consumed: IntCounterVec::new(consumed, &["group", "topic"])?,
            lag: IntGaugeVec::new(lag, &["group", "topic", "partition"])?,
        };
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.consumed.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        Ok(metrics)
    }

    /// Sets the lag of every assigned partition from the statistics of librdkafka. A lag below zero is unknown.
    pub(super) fn set_lag(&self, group: &str, statistics: &Statistics, lag: impl Fn(&Partition) -> i64) {
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values().filter(|p| p.desired && p.fetch_state == "active") {
                let lag = lag(partition);
                if lag >= 0 {
                    let partition = partition.partition.to_string();
                    self.lag.with_label_values(&[group, &topic.topic, &partition]).set(lag);
                }
            }
        }
    }
}
