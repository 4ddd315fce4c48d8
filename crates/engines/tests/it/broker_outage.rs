//! Events during an outage of the broker. The broker is librdkafka's mock, which can be switched off.

use std::collections::HashSet;

use common::events::topics::TopicNames;
use engines::kafka::record::Fetched;
use engines::outbox::Outbox;
use prometheus::Registry;
use rdkafka::mocking::MockCluster;
use tokio_util::sync::CancellationToken;

use crate::outbox::{change, changes_in_order, people};
use crate::support::{Schema, kafka_at, metrics, producer, read_until, until};

/// The value of the gauge `outbox_pending`.
fn measured(registry: &Registry) -> Option<f64> {
    let families = registry.gather();
    let pending = families.iter().find(|family| family.name() == "outbox_pending")?;
    Some(pending.get_metric().first()?.get_gauge().get_value())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_an_outage_and_the_end_of_their_relay_and_arrive_in_order() {
    let brokers = MockCluster::new(1).unwrap();
    let kafka = kafka_at(&brokers.bootstrap_servers(), TopicNames::default());
    brokers.create_topic(&kafka.topics.user_events, 3, 1).unwrap();
    let schema = Schema::new().await;
    people(&schema, 5).await;

    brokers.broker_down(1).unwrap();
    let metrics_of_first = metrics();
    let first = Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics_of_first);
    let relay = tokio::spawn({
        let first = first.clone();
        async move { first.run(CancellationToken::new()).await }
    });
    for n in 0..30 {
        change(&schema, &first, 1 + n % 5, true).await;
    }
    until("the gauge to show 30", || async { measured(metrics_of_first.registry()) == Some(30.0) }).await;
    relay.abort();
    assert!(relay.await.unwrap_err().is_cancelled());
    assert_eq!(schema.pending().await, 30);

    let second = Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics());
    let end = CancellationToken::new();
    let relay = tokio::spawn({
        let (second, end) = (second.clone(), end.clone());
        async move { second.run(end).await }
    });
    brokers.broker_up(1).unwrap();
    until("an empty outbox", || async { schema.pending().await == 0 }).await;
    end.cancel();
    relay.await.unwrap();

    // The first relay's producer still had some in its queue, so these arrive twice.
    let different = |records: &[Fetched]| records.iter().map(|r| &r.payload).collect::<HashSet<_>>().len();
    let records = read_until(&kafka, &kafka.topics.user_events, |records| different(records) == 30).await;
    let seen = changes_in_order(records);
    assert_eq!(seen.len(), 5);
    assert!(seen.values().all(|changes| *changes == [1, 2, 3, 4, 5, 6]), "{seen:?}");
    schema.end().await;
}
