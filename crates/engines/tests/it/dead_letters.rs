//! Dead letters can be read and replayed.

use engines::kafka::dead_letters::DeadLetters;
use engines::kafka::record::Record;

use crate::support::{kafka, numbered, producer, publish, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_to_its_own_topic() {
    let kafka = kafka().await;
    let producer = producer(&kafka);
    let topic = &kafka.topics.chat_events;
    let letters = DeadLetters::of(&kafka, topic);
    assert!(letters.list().await.unwrap().is_empty());

    let headers = [("x-dlq-topic", topic.as_str()), ("x-dlq-reason", "cannot be"), ("x-request-id", "r-9")];
    for n in 0..3 {
        let dead = Record {
            topic: format!("{topic}.dlq"),
            key: "5".to_owned(),
            payload: numbered(n).into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        };
        producer.send(dead).unwrap().await.unwrap();
    }
    let all = letters.list().await.unwrap();
    assert_eq!(all.len(), 3);
    let one = letters.show(all[1].partition, all[1].offset).await.unwrap();
    assert_eq!((one.payload.as_ref(), one.header("x-dlq-reason")), (numbered(1).as_bytes(), Some("cannot be")));
    assert!(letters.show(0, 99).await.is_err());

    letters.replay(&producer, &one).await.unwrap();
    publish(&producer, topic, "5", &numbered(7)).await;
    let back = read_until(&kafka, topic, |records| records.len() == 2).await;
    assert_eq!(back[0].payload, numbered(1));
    assert_eq!(
        (back[0].key.as_str(), back[0].header("x-request-id"), back[0].header("x-dlq-topic")),
        ("5", Some("r-9"), None)
    );
}
