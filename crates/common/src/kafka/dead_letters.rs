//! Dead letters: records that no try could work off, kept with the reason, to be looked at and sent again.
//!
//! Sending one again is harmless: consumers drop what they know by its version or event id.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Error, Result};
use crate::kafka::producer::{Producer, Record};
use crate::kafka::record::Fetched;
use crate::kafka::topics::TopicNames;
use crate::kafka::{KafkaConfig, failed, misconfigured};

pub const REASON: &str = "x-dlq-reason";
pub const GROUP: &str = "x-dlq-group";
pub const TOPIC: &str = "x-dlq-topic";
pub const PARTITION: &str = "x-dlq-partition";
pub const OFFSET: &str = "x-dlq-offset";
pub const AT: &str = "x-dlq-at";

/// All our headers begin so; what a record had of its own does not.
const OURS: &str = "x-dlq-";

/// Brokers refuse a record above 1 MB, and a reason can be a whole stack of causes.
const REASON_CHARS: usize = 1_000;

/// How long brokers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The dead letters of one topic, which are named by partition and offset in `<topic>.dlq`.
pub struct DeadLetters {
    config: KafkaConfig,
    topic: String,
}

impl DeadLetters {
    /// Of `topic`, by its own name (`user.events`).
    pub fn of(config: &KafkaConfig, topic: &str) -> Self {
        Self { config: config.clone(), topic: TopicNames::dead_letters(topic) }
    }

    /// All of them, oldest first.
    pub async fn list(&self) -> Result<Vec<Fetched>> {
        let (config, topic) = (self.config.clone(), self.topic.clone());
        let read = tokio::task::spawn_blocking(move || read_all(&config, &topic)).await;
        read.map_err(Error::internal)?
    }

    pub async fn show(&self, partition: i32, offset: i64) -> Result<Fetched> {
        let letters = self.list().await?;
        let letter = letters.into_iter().find(|letter| (letter.partition, letter.offset) == (partition, offset));
        letter.ok_or_else(|| Error::not_found("No such dead letter"))
    }

    /// Sends one again to the topic it came from. It also stays here until its retention is over.
    pub async fn replay(&self, producer: &Producer, letter: &Fetched) -> Result<()> {
        producer.send(revived(letter)?)?.await
    }
}

/// A record as it lies among the dead letters: untouched, with headers that say where it was and why it is here.
pub(super) fn record(dead: &Fetched, group: &str, reason: &str) -> Record {
    let mut headers = own_headers(dead);
    let why = [
        (REASON, reason.chars().take(REASON_CHARS).collect()),
        (GROUP, group.to_owned()),
        (TOPIC, dead.topic.clone()),
        (PARTITION, dead.partition.to_string()),
        (OFFSET, dead.offset.to_string()),
        (AT, Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)),
    ];
    headers.extend(why.map(|(name, value)| (name.to_owned(), value)));
    let topic = TopicNames::dead_letters(&dead.topic);
    Record { topic, key: dead.key.clone(), payload: dead.payload.clone(), headers }
}

/// The record as it was before it died.
fn revived(letter: &Fetched) -> Result<Record> {
    let Some(topic) = letter.header(TOPIC) else {
        return Err(Error::internal("a dead letter without the topic it came from"));
    };
    Ok(Record {
        topic: topic.to_owned(),
        key: letter.key.clone(),
        payload: letter.payload.clone(),
        headers: own_headers(letter),
    })
}

fn own_headers(record: &Fetched) -> Vec<(String, String)> {
    record.headers.iter().filter(|(name, _)| !name.starts_with(OURS)).cloned().collect()
}

/// Everything from the beginning of a topic to where it ends now.
fn read_all(config: &KafkaConfig, topic: &str) -> Result<Vec<Fetched>> {
    let client: BaseConsumer = config
        .client()
        .set("group.id", format!("{}.dead-letters", config.client_id))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .map_err(misconfigured)?;
    let mut unread = assign_all(&client, topic).map_err(failed)?;
    let mut letters = Vec::new();
    while unread > 0 {
        match client.poll(PATIENCE) {
            Some(Ok(message)) => letters.push(Fetched::from(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
            Some(Err(error)) => return Err(failed(error)),
            None => return Err(Error::unavailable("kafka", "no answer in time")),
        }
    }
    Ok(letters)
}

fn assign_all(client: &BaseConsumer, topic: &str) -> Result<usize, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
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
    fn a_record_comes_back_from_the_dead_as_it_was() {
        let own = vec![("x-request-id".to_owned(), "r-1".to_owned())];
        let dead = record(&fetched(own.clone()), "group", &"why ".repeat(10_000));
        assert_eq!(dead.topic, "user.events.dlq");
        let letter = Fetched { topic: dead.topic, ..fetched(dead.headers) };
        assert_eq!(letter.header(OFFSET), Some("7"));
        assert_eq!(letter.header(REASON).map(str::len), Some(REASON_CHARS));
        let revived = revived(&letter).unwrap();
        assert_eq!((revived.topic.as_str(), revived.headers), ("user.events", own));
    }
}
