//! Projections: work is done before it is forgotten, poison is put aside, and absence is waited out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::error::{Error, Result};
use common::events::Received;
use common::kafka::consumer::{Consumer, Handler};
use common::kafka::producer::Producer;
use common::kafka::{KafkaConfig, TopicNames};
use prometheus::Registry;
use rdkafka::mocking::MockCluster;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{SLACK, kafka, kafka_at, number, numbered, producer, publish, read_until, until};

/// Writes down what it worked off. Refuses some, and stands still when told.
#[derive(Clone)]
struct Diary {
    worked: Arc<Mutex<Vec<usize>>>,
    poison: Option<usize>,
    /// So many calls find their store away.
    away: Arc<AtomicUsize>,
    /// How many events may be worked off.
    leave: Arc<Semaphore>,
}

impl Diary {
    fn new() -> Self {
        Self {
            worked: Arc::default(),
            poison: None,
            away: Arc::default(),
            leave: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    async fn worked(&self) -> Vec<usize> {
        self.worked.lock().await.clone()
    }

    async fn all(&self) -> BTreeSet<usize> {
        self.worked().await.into_iter().collect()
    }
}

impl Handler for Diary {
    async fn handle(&self, events: &[Received]) -> Result<()> {
        if self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::unavailable("mysql", "gone for a while"));
        }
        if events.iter().any(|event| Some(number(event)) == self.poison) {
            return Err(Error::internal("cannot be"));
        }
        for event in events {
            self.leave.acquire().await.unwrap().forget();
            self.worked.lock().await.push(number(event));
        }
        Ok(())
    }
}

fn start(kafka: &KafkaConfig, diary: &Diary) -> (JoinHandle<()>, CancellationToken) {
    let topic = kafka.topics.friend_events.as_str();
    let group = format!("{topic}.diary");
    let consumer = Consumer::new(kafka, &producer(kafka), &group, &[topic], diary.clone()).unwrap();
    let end = CancellationToken::new();
    (tokio::spawn(consumer.run(end.clone())), end)
}

async fn publish_numbers(kafka: &KafkaConfig, numbers: std::ops::Range<usize>) {
    let producer = producer(kafka);
    for n in numbers {
        publish(&producer, &kafka.topics.friend_events, &(n % 7).to_string(), &numbered(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_goes_to_the_dead_letters_and_the_rest_flows_on() {
    let kafka = kafka().await;
    let topic = &kafka.topics.friend_events;
    publish_numbers(&kafka, 0..10).await;
    publish(&producer(&kafka), topic, "3", "no event at all").await;
    publish_numbers(&kafka, 10..20).await;
    let diary = Diary { poison: Some(12), ..Diary::new() };

    let (running, end) = start(&kafka, &diary);
    let letters = read_until(&kafka, &format!("{topic}.dlq"), |letters| letters.len() == 2).await;
    until("the rest", || async { diary.all().await.len() == 19 }).await;
    assert!(!diary.all().await.contains(&12));

    let poison = letters.iter().find(|letter| letter.payload == numbered(12)).unwrap();
    assert_eq!(poison.header("x-dlq-reason"), Some("internal error: cannot be"));
    assert_eq!(poison.header("x-dlq-topic"), Some(topic.as_str()));
    assert!(poison.header("x-dlq-partition").is_some() && poison.header("x-dlq-offset").is_some());
    assert_eq!(poison.header("x-request-id"), Some("r-1"), "its own headers stay");
    let garbage = letters.iter().find(|letter| letter.payload == "no event at all").unwrap();
    assert!(garbage.header("x-dlq-reason").unwrap().starts_with("not an event"));

    end.cancel();
    running.await.unwrap();
    // All of it was committed, the poison too.
    let next = Diary::new();
    let (running, end) = start(&kafka, &next);
    publish_numbers(&kafka, 100..101).await;
    until("the next", || async { !next.worked().await.is_empty() }).await;
    assert_eq!(next.worked().await, [100]);
    end.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_consumer_had_in_hand_comes_again() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..60).await;
    let killed = Diary { leave: Arc::new(Semaphore::new(25)), ..Diary::new() };
    let (running, _) = start(&kafka, &killed);
    until("half of the work", || async { killed.worked().await.len() == 25 }).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());

    let heir = Diary::new();
    let (running, end) = start(&kafka, &heir);
    until("all of the work", || async { killed.all().await.union(&heir.all().await).count() == 60 }).await;
    end.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_store_is_waited_for_and_makes_no_dead_letters() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..30).await;
    let diary = Diary { away: Arc::new(AtomicUsize::new(6)), ..Diary::new() };
    let (running, end) = start(&kafka, &diary);
    until("the store to be missed", || async { diary.away.load(Ordering::SeqCst) < 4 }).await;
    publish_numbers(&kafka, 30..60).await;
    until("all of the work", || async { diary.all().await.len() == 60 }).await;
    let worked = diary.worked().await;
    for key in 0..7 {
        let of_key: Vec<usize> = worked.iter().copied().filter(|n| n % 7 == key).collect();
        assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
    }
    end.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_work_and_take_over_from_one_that_leaves() {
    let kafka = kafka().await;
    let (first, second) = (Diary::new(), Diary::new());
    let (first_runs, first_end) = start(&kafka, &first);
    publish_numbers(&kafka, 0..30).await;
    until("the first at work", || async { first.all().await.len() == 30 }).await;
    let (second_runs, second_end) = start(&kafka, &second);
    let mut sent = 30;
    while second.worked().await.is_empty() {
        assert!(sent < 3_000, "the second got nothing");
        publish_numbers(&kafka, sent..sent + 10).await;
        sent += 10;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    first_end.cancel();
    first_runs.await.unwrap();
    let before = first.worked().await;
    publish_numbers(&kafka, sent..sent + 30).await;
    sent += 30;
    let done = || async { [first.worked().await, second.worked().await].concat() };
    until("all of the work", || async { done().await.into_iter().collect::<BTreeSet<_>>().len() == sent }).await;
    assert_eq!(first.worked().await, before, "who left does nothing more");
    assert_eq!(done().await.len(), sent, "each once: what was done was committed before it moved");
    second_end.cancel();
    second_runs.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_ends_in_time_although_its_broker_is_away() {
    let brokers = MockCluster::new(1).unwrap();
    let kafka = kafka_at(&brokers.bootstrap_servers(), TopicNames::default());
    brokers.create_topic(&kafka.topics.friend_events, 2, 1).unwrap();
    publish_numbers(&kafka, 0..10).await;
    let diary = Diary::new();
    let (running, end) = start(&kafka, &diary);
    until("some work", || async { diary.all().await.len() == 10 }).await;
    brokers.broker_down(1).unwrap();
    let began = Instant::now();
    end.cancel();
    running.await.unwrap();
    println!("left after {:?}", began.elapsed());
    assert!(began.elapsed() < SLACK * Duration::from_secs(5), "{:?}", began.elapsed());
}

/// What `kafka_consumer_lag` says of all partitions together.
fn lag(registry: &Registry) -> Option<f64> {
    let families = registry.gather();
    let lag = families.iter().find(|family| family.name() == "kafka_consumer_lag")?;
    Some(lag.get_metric().iter().map(|partition| partition.get_gauge().get_value()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_to_be_done_is_measured() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..20).await;
    let diary = Diary::new();
    let (running, end) = start(&kafka, &diary);
    until("the work", || async { diary.all().await.len() == 20 }).await;
    end.cancel();
    running.await.unwrap();

    publish_numbers(&kafka, 20..30).await;
    let idle = Diary { leave: Arc::new(Semaphore::new(0)), ..Diary::new() };
    let registry = Registry::new();
    let topic = kafka.topics.friend_events.as_str();
    let producer = Producer::new(&kafka, &registry).unwrap();
    let consumer = Consumer::new(&kafka, &producer, &format!("{topic}.diary"), &[topic], idle.clone()).unwrap();
    let end = CancellationToken::new();
    let running = tokio::spawn(consumer.run(end.clone()));
    until("ten to do", || async { lag(&registry) == Some(10.0) }).await;
    idle.leave.add_permits(100);
    until("nothing to do", || async { lag(&registry) == Some(0.0) }).await;
    end.cancel();
    running.await.unwrap();
}
