//! The producer fails fast, partitions as the original does, and recovers from fatal errors.

use std::time::{Duration, Instant};

use common::error::Error;
use common::events::topics::TopicNames;
use engines::kafka::record::Record;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{SLACK, kafka, kafka_at, producer, publish, read_until, until};

fn record(topic: &str, n: usize) -> Record {
    Record { topic: topic.to_owned(), key: n.to_string(), payload: "{}".into(), headers: Vec::new() }
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once() {
    let producer = producer(&kafka_at("127.0.0.1:1", TopicNames::default()));
    let began = Instant::now();
    let rejected = (0..100_000).find_map(|n| producer.send(record("user.events", n)).err()).map(Error::from);
    assert!(matches!(rejected, Some(Error::Unavailable { dependency: "kafka", .. })), "{rejected:?}");
    assert!(began.elapsed() < SLACK * Duration::from_secs(5));
}

#[tokio::test]
async fn a_producer_is_replaced_after_a_fatal_error() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("user.events", 1, 1).unwrap();
    let producer = producer(&kafka_at(&brokers.bootstrap_servers(), TopicNames::default()));
    publish(&producer, "user.events", "1", "{}").await;
    let lost_sequence = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    brokers.request_errors(RDKafkaApiKey::Produce, &[lost_sequence]);
    assert!(producer.send(record("user.events", 2)).unwrap().await.is_err());
    let works = || async {
        match producer.send(record("user.events", 3)) {
            Ok(report) => report.await.is_ok(),
            Err(_) => false,
        }
    };
    until("a producer that works", works).await;
}

#[tokio::test]
async fn keys_have_the_partitions_of_the_original() {
    let kafka = kafka().await;
    let producer = producer(&kafka);
    let topic = &kafka.topics.message_events;
    // From original-events.jsonl.
    let original = [("765", 4), ("768", 5)];
    for (key, _) in original {
        publish(&producer, topic, key, "{}").await;
    }
    let records = read_until(&kafka, topic, |records| records.len() == original.len()).await;
    for (key, partition) in original {
        let ours = records.iter().find(|record| record.key == key).unwrap();
        assert_eq!(ours.partition, partition, "room {key}");
        assert_eq!(ours.header("x-request-id"), Some("r-1"));
    }
}
