//! Dead letters: records that a consumer could not process, kept with the reason, so that an operator can read and
//! replay them.
//!
//! A replay is harmless: consumers ignore an event whose version or id they have processed.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use common::error::Error as CommonError;
use common::events::topics::TopicNames;
use platform::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Result;
use crate::kafka::client::{self, misconfigured};
use crate::kafka::producer::Producer;
pub use crate::kafka::record::{AT, REASON};
use crate::kafka::record::{Fetched, REASON_CHARS, Record};

/// The header of the consumer group that gave up.
pub const GROUP: &str = "x-dlq-group";
/// The header of the record's own topic.
pub const TOPIC: &str = "x-dlq-topic";
/// The header of the record's own partition.
pub const PARTITION: &str = "x-dlq-partition";
/// The header of the record's own offset.
pub const OFFSET: &str = "x-dlq-offset";

/// The prefix of these headers. A record's own headers have another.
const HEADER_PREFIX: &str = "x-dlq-";

/// The longest wait for brokers.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The dead letters of one topic. Partition and offset in `<topic>.dlq` identify a letter.
pub struct DeadLetters {
    config: KafkaConfig,
    topic: String,
}

impl DeadLetters {
    /// The dead letters of `topic`, such as `user.events`.
    pub fn of(config: &KafkaConfig, topic: &str) -> Self {
        Self { config: config.clone(), topic: TopicNames::dead_letters(topic) }
    }

    /// All dead letters, the oldest first.
    ///
    /// # Errors
    /// Returns an unavailable error if the brokers do not answer.
    pub async fn list(&self) -> Result<Vec<Fetched>> {
        let (config, topic) = (self.config.clone(), self.topic.clone());
        let read = tokio::task::spawn_blocking(move || read_all(&config, &topic)).await;
        read.map_err(CommonError::internal)?
    }

    /// One dead letter.
    ///
    /// # Errors
    /// Returns a not-found error if it does not exist, and an unavailable error if the brokers do not answer.
    pub async fn show(&self, partition: i32, offset: i64) -> Result<Fetched> {
        let letters = self.list().await?;
        let letter = letters.into_iter().find(|letter| (letter.partition, letter.offset) == (partition, offset));
        letter.ok_or_else(|| CommonError::not_found("No such dead letter").into())
    }

    /// Sends a letter to its own topic again. It also remains here until its retention ends.
    ///
    /// # Errors
    /// Returns an internal error if the letter does not name its topic, and an unavailable error if the brokers do not
    /// answer.
    pub async fn replay(&self, producer: &Producer, letter: &Fetched) -> Result<()> {
        producer.send(replayable(letter)?)?.await
    }
}

/// The dead letter of a record: unchanged, with headers for its origin and the reason.
pub(super) fn record(dead: &Fetched, group: &str, reason: &str) -> Record {
    let mut headers = own_headers(dead);
    let origin = [
        (REASON, reason.chars().take(REASON_CHARS).collect()),
        (GROUP, group.to_owned()),
        (TOPIC, dead.topic.clone()),
        (PARTITION, dead.partition.to_string()),
        (OFFSET, dead.offset.to_string()),
        (AT, Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)),
    ];
    headers.extend(origin.map(|(name, value)| (name.to_owned(), value)));
    let topic = TopicNames::dead_letters(&dead.topic);
    Record { topic, key: dead.key.clone(), payload: dead.payload.clone(), headers }
}

/// The record that a dead letter was made of.
fn replayable(letter: &Fetched) -> Result<Record> {
    let Some(topic) = letter.header(TOPIC) else {
        return Err(CommonError::internal("the dead letter does not name its topic").into());
    };
    Ok(Record {
        topic: topic.to_owned(),
        key: letter.key.clone(),
        payload: letter.payload.clone(),
        headers: own_headers(letter),
    })
}

fn own_headers(record: &Fetched) -> Vec<(String, String)> {
    record.headers.iter().filter(|(name, _)| !name.starts_with(HEADER_PREFIX)).cloned().collect()
}

/// All records from the beginning of a topic to its current end.
fn read_all(config: &KafkaConfig, topic: &str) -> Result<Vec<Fetched>> {
    let client: BaseConsumer = client::settings(config)
        .set("group.id", format!("{}.dead-letters", config.client_id))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .map_err(misconfigured)?;
    let mut unread = assign_all(&client, topic)?;
    let mut letters = Vec::new();
    while unread > 0 {
        match client.poll(TIMEOUT) {
            Some(Ok(message)) => letters.push(Fetched::from(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(CommonError::unavailable("kafka", "no answer in time").into()),
        }
    }
    Ok(letters)
}

fn assign_all(client: &BaseConsumer, topic: &str) -> Result<usize, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    client.assign(&all)?;
    Ok(all.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(headers: Vec<(String, String)>) -> Fetched {
        let (topic, key, payload) = ("user.events".to_owned(), "1".to_owned(), "{}".into());
        Fetched { topic, partition: 2, offset: 7, key, payload, headers, at: Utc::now() }
    }

    #[test]
    fn a_replayed_record_equals_the_original_record() {
        let own = vec![("x-request-id".to_owned(), "r-1".to_owned())];
        let dead = record(&fetched(own.clone()), "group", &"why ".repeat(10_000));
        assert_eq!(dead.topic, "user.events.dlq");
        let letter = Fetched { topic: dead.topic, ..fetched(dead.headers) };
        assert_eq!(letter.header(OFFSET), Some("7"));
        assert_eq!(letter.header(REASON).map(str::len), Some(REASON_CHARS));
        let replayable = replayable(&letter).unwrap();
        assert_eq!((replayable.topic.as_str(), replayable.headers), ("user.events", own));
    }
}
