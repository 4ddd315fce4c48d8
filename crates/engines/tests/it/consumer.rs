//! Projections: offsets are committed after the work, poison goes to the dead letters, and outages are waited out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::error::Error;
use common::events::topics::TopicNames;
use engines::error::Result;
use engines::kafka::consumer::{Consumer, Handler};
use engines::kafka::producer::Producer;
use engines::kafka::received::Received;
use platform::config::KafkaConfig;
use prometheus::Registry;
use rdkafka::mocking::MockCluster;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{SLACK, kafka, kafka_at, number, numbered, producer, publish, read_until, until};

/// Records the events that it processes. Rejects some, and stops without a permit.
#[derive(Clone)]
struct Recorder {
    processed: Arc<Mutex<Vec<usize>>>,
    poison: Option<usize>,
    /// The number of calls whose store is unavailable.
    outages: Arc<AtomicUsize>,
    /// One for each event that may be processed.
    permits: Arc<Semaphore>,
}

impl Recorder {
    fn new() -> Self {
        Self {
            processed: Arc::default(),
            poison: None,
            outages: Arc::default(),
            permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    async fn processed(&self) -> Vec<usize> {
        self.processed.lock().await.clone()
    }

    async fn all(&self) -> BTreeSet<usize> {
        self.processed().await.into_iter().collect()
    }
}

impl Handler for Recorder {
    async fn handle(&self, events: &[Received]) -> Result<()> {
        if self.outages.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::unavailable("mysql", "an outage").into());
        }
        if events.iter().any(|event| Some(number(event)) == self.poison) {
            return Err(Error::internal("cannot be processed").into());
        }
        for event in events {
            self.permits.acquire().await.unwrap().forget();
            self.processed.lock().await.push(number(event));
        }
        Ok(())
    }
}

fn start(kafka: &KafkaConfig, recorder: &Recorder) -> (JoinHandle<()>, CancellationToken) {
    let topic = kafka.topics.friend_events.as_str();
    let group = format!("{topic}.recorder");
    let consumer = Consumer::new(kafka, &producer(kafka), &group, &[topic], recorder.clone()).unwrap();
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
async fn poison_goes_to_the_dead_letters_and_the_other_records_follow() {
    let kafka = kafka().await;
    let topic = &kafka.topics.friend_events;
    publish_numbers(&kafka, 0..10).await;
    publish(&producer(&kafka), topic, "3", "no event at all").await;
    publish_numbers(&kafka, 10..20).await;
    let recorder = Recorder { poison: Some(12), ..Recorder::new() };

    let (running, end) = start(&kafka, &recorder);
    let letters = read_until(&kafka, &format!("{topic}.dlq"), |letters| letters.len() == 2).await;
    until("the rest", || async { recorder.all().await.len() == 19 }).await;
    assert!(!recorder.all().await.contains(&12));

    let poison = letters.iter().find(|letter| letter.payload == numbered(12)).unwrap();
    assert_eq!(poison.header("x-dlq-reason"), Some("internal error: cannot be processed"));
    assert_eq!(poison.header("x-dlq-topic"), Some(topic.as_str()));
    assert!(poison.header("x-dlq-partition").is_some() && poison.header("x-dlq-offset").is_some());
    assert_eq!(poison.header("x-request-id"), Some("r-1"), "its own headers remain");
    let garbage = letters.iter().find(|letter| letter.payload == "no event at all").unwrap();
    assert!(garbage.header("x-dlq-reason").unwrap().starts_with("not an event"));

    end.cancel();
    running.await.unwrap();
    // All records were committed, the poison too.
    let next = Recorder::new();
    let (running, end) = start(&kafka, &next);
    publish_numbers(&kafka, 100..101).await;
    until("the next", || async { !next.processed().await.is_empty() }).await;
    assert_eq!(next.processed().await, [100]);
    end.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_killed_consumer_are_delivered_again() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..60).await;
    let killed = Recorder { permits: Arc::new(Semaphore::new(25)), ..Recorder::new() };
    let (running, _) = start(&kafka, &killed);
    until("half of the work", || async { killed.processed().await.len() == 25 }).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());

    let successor = Recorder::new();
    let (running, end) = start(&kafka, &successor);
    until("all of the work", || async { killed.all().await.union(&successor.all().await).count() == 60 }).await;
    end.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_store_is_waited_for_and_causes_no_dead_letters() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..30).await;
    let recorder = Recorder { outages: Arc::new(AtomicUsize::new(6)), ..Recorder::new() };
    let (running, end) = start(&kafka, &recorder);
    until("the outage to be noticed", || async { recorder.outages.load(Ordering::SeqCst) < 4 }).await;
    publish_numbers(&kafka, 30..60).await;
    until("all of the work", || async { recorder.all().await.len() == 60 }).await;
    let worked = recorder.processed().await;
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
    let (first, second) = (Recorder::new(), Recorder::new());
    let (first_runs, first_end) = start(&kafka, &first);
    publish_numbers(&kafka, 0..30).await;
    until("the first at work", || async { first.all().await.len() == 30 }).await;
    let (second_runs, second_end) = start(&kafka, &second);
    let mut sent = 30;
    while second.processed().await.is_empty() {
        assert!(sent < 3_000, "the second got nothing");
        publish_numbers(&kafka, sent..sent + 10).await;
        sent += 10;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    first_end.cancel();
    first_runs.await.unwrap();
    let before = first.processed().await;
    publish_numbers(&kafka, sent..sent + 30).await;
    sent += 30;
    let done = || async { [first.processed().await, second.processed().await].concat() };
    until("all of the work", || async { done().await.into_iter().collect::<BTreeSet<_>>().len() == sent }).await;
    assert_eq!(first.processed().await, before, "a member that left processes nothing more");
    assert_eq!(done().await.len(), sent, "each once: offsets were committed before the partitions moved");
    second_end.cancel();
    second_runs.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_stops_in_time_during_an_outage_of_its_broker() {
    let brokers = MockCluster::new(1).unwrap();
    let kafka = kafka_at(&brokers.bootstrap_servers(), TopicNames::default());
    brokers.create_topic(&kafka.topics.friend_events, 2, 1).unwrap();
    publish_numbers(&kafka, 0..10).await;
    let recorder = Recorder::new();
    let (running, end) = start(&kafka, &recorder);
    until("some work", || async { recorder.all().await.len() == 10 }).await;
    brokers.broker_down(1).unwrap();
    let began = Instant::now();
    end.cancel();
    running.await.unwrap();
    println!("left after {:?}", began.elapsed());
    assert!(began.elapsed() < SLACK * Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The sum of `kafka_consumer_lag` over all partitions.
fn lag(registry: &Registry) -> Option<f64> {
    let families = registry.gather();
    let lag = families.iter().find(|family| family.name() == "kafka_consumer_lag")?;
    Some(lag.get_metric().iter().map(|partition| partition.get_gauge().get_value()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_counts_the_records_that_are_not_processed() {
    let kafka = kafka().await;
    publish_numbers(&kafka, 0..20).await;
    let recorder = Recorder::new();
    let (running, end) = start(&kafka, &recorder);
    until("the work", || async { recorder.all().await.len() == 20 }).await;
    end.cancel();
    running.await.unwrap();

    publish_numbers(&kafka, 20..30).await;
    let idle = Recorder { permits: Arc::new(Semaphore::new(0)), ..Recorder::new() };
    let registry = Registry::new();
    let topic = kafka.topics.friend_events.as_str();
    let producer = Producer::new(&kafka, &registry).unwrap();
    let consumer = Consumer::new(&kafka, &producer, &format!("{topic}.recorder"), &[topic], idle.clone()).unwrap();
    let end = CancellationToken::new();
    let running = tokio::spawn(consumer.run(end.clone()));
    until("ten to do", || async { lag(&registry) == Some(10.0) }).await;
    idle.permits.add_permits(100);
    until("nothing to do", || async { lag(&registry) == Some(0.0) }).await;
    end.cancel();
    running.await.unwrap();
}
