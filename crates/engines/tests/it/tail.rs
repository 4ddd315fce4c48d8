//! A tail begins at the ends of the topics and reads topics that appear later from their beginning.

use std::time::Duration;

use common::events::topics::TopicNames;
use engines::kafka::tail::Tail;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio_util::sync::CancellationToken;

use crate::support::{kafka, kafka_at, number, numbered, producer, publish, until};

async fn next(tail: &mut Tail) -> usize {
    number(&tokio::time::timeout(Duration::from_secs(30), tail.next()).await.expect("in time").expect("an event"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_reads_the_events_after_it_is_ready_and_topics_that_appear_later() {
    let kafka = kafka().await;
    let producer = producer(&kafka);
    let (topic, later) = (kafka.topics.message_events.as_str(), format!("{}.later", kafka.topics.chat_events));
    for n in 0..20 {
        publish(&producer, topic, &n.to_string(), &numbered(n)).await;
    }
    let end = CancellationToken::new();
    let mut tail = Tail::start(&kafka, &producer, &[topic, &later], end.clone()).unwrap();
    tail.ready().await;
    publish(&producer, topic, "1", "no event at all").await;
    publish(&producer, topic, "1", &numbered(100)).await;
    publish(&producer, topic, "1", &numbered(101)).await;
    assert_eq!(
        [next(&mut tail).await, next(&mut tail).await],
        [100, 101],
        "no earlier event, and the malformed record is skipped"
    );

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let new = NewTopic::new(&later, 2, TopicReplication::Fixed(1));
    admin.create_topics(&[new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    publish(&producer, &later, "1", &numbered(200)).await;
    assert_eq!(next(&mut tail).await, 200);

    end.cancel();
    assert!(tail.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_survives_an_outage_of_its_broker() {
    let brokers = rdkafka::mocking::MockCluster::new(1).unwrap();
    let kafka = kafka_at(&brokers.bootstrap_servers(), TopicNames::default());
    brokers.create_topic("message.events", 2, 1).unwrap();
    brokers.broker_down(1).unwrap();
    let mut tail = Tail::start(&kafka, &producer(&kafka), &["message.events"], CancellationToken::new()).unwrap();
    assert!(!tail.is_ready());
    brokers.broker_up(1).unwrap();
    until("a tail at the end", || async { tail.is_ready() }).await;
    let producer = producer(&kafka);
    publish(&producer, "message.events", "1", &numbered(1)).await;
    assert_eq!(next(&mut tail).await, 1);
    brokers.broker_down(1).unwrap();
    brokers.broker_up(1).unwrap();
    publish(&producer, "message.events", "1", &numbered(2)).await;
    assert_eq!(next(&mut tail).await, 2);
}
