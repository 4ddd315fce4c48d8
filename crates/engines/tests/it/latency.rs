//! The time from the commit of an event to its consumer without other load. Run it alone on the machine:
//! `cargo test --release -p engines --test it -- --ignored --nocapture latency`

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::events::user::UserProfileUpdated;
use common::id::UserId;
use engines::error::Result;
use engines::kafka::consumer::{Consumer, Handler};
use engines::kafka::received::Received;
use engines::mysql;
use engines::outbox::Outbox;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Schema, kafka, metrics, producer};

const EVENTS: u32 = 1_000;
const EVERY: Duration = Duration::from_millis(100);
const PROMISED: Duration = Duration::from_millis(50);

/// Sends the time at which an event arrived.
struct Arrivals(mpsc::UnboundedSender<(String, Instant)>);

impl Handler for Arrivals {
    async fn handle(&self, events: &[Received]) -> Result<()> {
        let now = Instant::now();
        for event in events {
            self.0.send((event.decode::<UserProfileUpdated>()?.status_message.unwrap(), now)).unwrap();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark of two minutes"]
async fn latency_in_rest() {
    let (kafka, schema) = (kafka().await, Schema::new().await);
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let end = CancellationToken::new();
    let topic = kafka.topics.user_events.as_str();
    let consumer =
        Consumer::new(&kafka, &producer(&kafka), &format!("{topic}.arrivals"), &[topic], Arrivals(sender)).unwrap();
    tokio::spawn(consumer.run(end.clone()));
    let outbox = Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics());
    let relay = Arc::new(outbox.clone());
    tokio::spawn({
        let end = end.clone();
        async move { relay.run(end).await }
    });

    let mut waits = Vec::new();
    let mut beat = tokio::time::interval(EVERY);
    // The first events wait for connections and partitions.
    for n in 0..EVENTS + 10 {
        beat.tick().await;
        let event = UserProfileUpdated {
            user_id: UserId(i64::from(n)),
            display_name: None,
            status_message: Some(n.to_string()),
        };
        let mut tx = mysql::begin(&schema.pool).await.unwrap();
        outbox.append(&mut tx, &event).await.unwrap();
        tx.commit().await.unwrap();
        let committed = Instant::now();
        outbox.wake();
        let (which, came) = arrivals.recv().await.unwrap();
        assert_eq!(which, n.to_string());
        if n >= 10 {
            waits.push(came - committed);
        }
    }
    waits.sort();
    let at = |percent: usize| waits[waits.len() * percent / 100];
    println!(
        "commit to consumer: median {:?}, p95 {:?}, p99 {:?}, worst {:?}",
        at(50),
        at(95),
        at(99),
        waits[waits.len() - 1]
    );
    assert!(at(99) <= PROMISED);
    end.cancel();
    schema.end().await;
}
