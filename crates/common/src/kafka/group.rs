//! What a consumer group does beside the work: rebalances and the measure of its lag.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use crate::kafka::{KafkaConfig, Metrics, log, note};

/// Three measures of the lag for every scrape.
pub(super) const STATISTICS_EVERY_MS: &str = "5000";

pub(super) fn settings(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = config.client();
    client
        .set("group.id", group)
        // Only the partitions that move stop.
        .set("partition.assignment.strategy", "cooperative-sticky")
        // A killed member's partitions are with others within seconds.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // Stored by us after the work, then committed.
        .set("enable.auto.offset.store", "false")
        // A topic that is created later is found within this time.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // What may be fetched ahead; the default is 64 MiB.
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
        self.metrics.measure_lag(&self.name, &statistics, |partition| match partition.consumer_lag_stored {
            // Nothing was stored yet.
            ..0 => partition.consumer_lag,
            // Stored after the work, so this is what is still to be done.
            stored => stored,
        });
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(partitions) = rebalance else { return };
        for partition in partitions.elements() {
            // Its lag is the next owner's to tell; absent where it was never measured.
            let labels = [&*self.name, partition.topic(), &partition.partition().to_string()];
            let _ = self.metrics.lag.remove_label_values(&labels);
        }
        // Lost ones have another owner already. This one waits for the broker, in the thread that polls: the next owner
        // must not begin before.
        if !client.assignment_lost() {
            note("commit before a rebalance", client.commit_consumer_state(CommitMode::Sync));
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _: &rdkafka::TopicPartitionList) {
        note("commit", result);
    }
}
