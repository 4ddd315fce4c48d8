//! What stands on a topic.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;

use crate::eventually;

/// Reads a topic from its beginning, as often as it is asked.
pub struct Events {
    topic: String,
}

impl Events {
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned() }
    }

    /// Every record on the topic now, in the order of each partition.
    pub async fn all(&self) -> Vec<Value> {
        // A topic that was just made has no leaders for a moment.
        eventually(&format!("{} can be read", self.topic), || async {
            let topic = self.topic.clone();
            tokio::task::spawn_blocking(move || read(&topic)).await.unwrap().ok()
        })
        .await
    }

    /// Waits until `wanted` records of this type are there, and returns all of the type.
    pub async fn expect(&self, event_type: &str, wanted: usize) -> Vec<Value> {
        eventually(&format!("{wanted} {event_type} on {}", self.topic), || async {
            let all = self.all().await;
            let found: Vec<_> = all.into_iter().filter(|e| e["event_type"] == event_type).collect();
            (found.len() >= wanted).then_some(found)
        })
        .await
    }
}

fn read(topic: &str) -> KafkaResult<Vec<Value>> {
    const WAIT: Duration = Duration::from_secs(5);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", std::env::var("KAFKA_BOOTSTRAP_SERVERS").unwrap())
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), WAIT)?;
    let (mut wanted, mut assignment) = (0, TopicPartitionList::new());
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), WAIT)?;
        wanted += high - low;
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut records = Vec::new();
    while (records.len() as i64) < wanted {
        let message = consumer.poll(WAIT).expect("records were counted")?;
        records.push(serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default());
    }
    Ok(records)
}
