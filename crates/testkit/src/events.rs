//! The records of a Kafka topic.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;

use crate::eventually;

/// Reads a topic from its beginning at every call.
pub struct Events {
    topic: String,
}

impl Events {
    /// The events of a topic.
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned() }
    }

    /// The values of all records, in the order of each partition.
    pub async fn all(&self) -> Vec<Value> {
        self.records().await.into_iter().map(|(event, _)| event).collect()
    }

    /// The values of a header in the records that have it.
    pub async fn headers(&self, name: &str) -> Vec<String> {
        let headers = self.records().await.into_iter().flat_map(|(_, headers)| headers);
        headers.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    async fn records(&self) -> Vec<Record> {
        // A new topic has no leaders for a moment.
        eventually(&format!("{} can be read", self.topic), || async {
            let topic = self.topic.clone();
            tokio::task::spawn_blocking(move || read(&topic)).await.unwrap().ok()
        })
        .await
    }

    /// Waits until at least `wanted` events of this type are published, and returns all of the type.
    pub async fn expect(&self, event_type: &str, wanted: usize) -> Vec<Value> {
        eventually(&format!("{wanted} {event_type} on {}", self.topic), || async {
            let all = self.all().await;
            let found: Vec<_> = all.into_iter().filter(|e| e["event_type"] == event_type).collect();
            (found.len() >= wanted).then_some(found)
        })
        .await
    }
}

/// A value and its headers.
type Record = (Value, Vec<(String, String)>);

fn read(topic: &str) -> KafkaResult<Vec<Record>> {
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
        let event = serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        records.push((event, headers.map(|header| (header.key.to_owned(), text(header.value))).collect()));
    }
    Ok(records)
}
