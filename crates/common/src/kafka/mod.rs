//! Kafka: what a process knows of the brokers, what it counts, and what all its clients have in common.

pub mod consumer;
pub mod dead_letters;
mod group;
pub mod live;
pub mod producer;
pub mod record;
pub mod topics;

use std::time::Duration;

use backon::BackoffBuilder;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{Partition, Statistics};

use crate::error::{Error, Result};

pub use topics::TopicNames;

/// What every client of a process needs.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, comma-separated.
    pub bootstrap: String,
    /// `gzip` by default: a plain aiokafka reads no other.
    pub compression: String,
    pub topics: TopicNames,
    /// How brokers name us in their logs and quotas: the service.
    pub client_id: String,
}

impl KafkaConfig {
    /// What clients of every kind share: they come back within a second when a broker does.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        client
    }
}

/// The counters of a process, registered once with its producer.
#[derive(Clone)]
pub(crate) struct Metrics {
    published: IntCounterVec,
    consumed: IntCounterVec,
    lag: IntGaugeVec,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let published = Opts::new("kafka_events_published_total", "Records that the brokers have acknowledged");
        let consumed = Opts::new("kafka_events_consumed_total", "Records that were worked off");
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

    /// Takes the lag of every assigned partition from what librdkafka tells; below zero it is unknown.
    fn measure_lag(&self, group: &str, statistics: &Statistics, lag: impl Fn(&Partition) -> i64) {
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

/// Brings librdkafka's own words into our log. While brokers are away it speaks of every attempt, so quietly.
#[derive(Clone)]
struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka"),
        _ => tracing::trace!(facility, message, "librdkafka"),
    }
}

/// Nearly every failure of a broker passes; a record that it will never take does not.
fn failed(error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => Error::internal(error),
        _ => Error::unavailable("kafka", error),
    }
}

/// A configuration that librdkafka refuses is a fault of ours.
fn misconfigured(error: KafkaError) -> Error {
    Error::internal(error)
}

/// Never longer than this between attempts against something that is away.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Waits between attempts, soon at first, without end.
pub(crate) fn backoff() -> impl Iterator<Item = Duration> + Send {
    let growing = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_WAIT)
        .without_max_times()
        .with_jitter();
    growing.build().chain(std::iter::repeat(LONGEST_WAIT))
}

/// For results whose failure nobody waits for.
fn note(what: &'static str, result: Result<(), KafkaError>) {
    if let Err(error) = result {
        tracing::debug!(%error, what, "kafka");
    }
}
