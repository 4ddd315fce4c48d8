//! A member of a consumer group: its settings, rebalances and lag.

use platform::config::KafkaConfig;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use crate::kafka::client::{self, log, log_error};
use crate::kafka::metrics::Metrics;

/// The interval of the statistics: three for every scrape.
pub(super) const STATISTICS_EVERY_MS: &str = "5000";

pub(super) fn settings(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = client::settings(config);
    client
        .set("group.id", group)
        // A rebalance stops only the partitions that move.
        .set("partition.assignment.strategy", "cooperative-sticky")
        // Other members take over a killed member's partitions within seconds.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // The consumer stores an offset after the work, then commits it.
        .set("enable.auto.offset.store", "false")
        // A topic that is created later is found within this time.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // The records that are fetched ahead; the default is 64 MiB.
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS_EVERY_MS);
    client
}

pub(super) struct Group {
    name: String,
    metrics: Metrics,
}

impl Group {
    pub(super) fn new(name: &str, metrics: Metrics) -> Self {
        Self { name: name.to_owned(), metrics }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }

    fn stats(&self, statistics: Statistics) {
        self.metrics.set_lag(&self.name, &statistics, |partition| match partition.consumer_lag_stored {
            // No offset is stored yet.
            ..0 => partition.consumer_lag,
            // Offsets are stored after the work, so this counts the records that are still to be processed.
            stored => stored,
        });
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(partitions) = rebalance else { return };
        for partition in partitions.elements() {
            // The next owner reports the lag. Fails where it was never measured.
            let labels = [&*self.name, partition.topic(), &partition.partition().to_string()];
            let _ = self.metrics.lag.remove_label_values(&labels);
        }
        // Lost partitions already have another owner. Otherwise the commit blocks the thread that polls, so that the
        // next owner begins after it.
        if !client.assignment_lost() {
            log_error("commit before a rebalance", client.commit_consumer_state(CommitMode::Sync));
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _: &rdkafka::TopicPartitionList) {
        log_error("commit", result);
    }
}
