//! The outbox publishes exactly the committed events, those of one key in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use common::events::user::UserProfileUpdated;
use common::id::UserId;
use engines::kafka::received::Received;
use engines::kafka::record::Fetched;
use engines::mysql;
use engines::outbox::Outbox;
use tokio_util::sync::CancellationToken;

use crate::support::{Schema, execute, kafka, metrics, producer, read_until, until};

/// Changes a person and appends the event in the same transaction. Returns the event's version.
pub async fn change(schema: &Schema, outbox: &Outbox, person: i64, commit: bool) -> u64 {
    let mut tx = mysql::begin(&schema.pool).await.unwrap();
    sqlx::query("UPDATE people SET changes = changes + 1 WHERE id = ?").bind(person).execute(&mut *tx).await.unwrap();
    let change: i64 =
        sqlx::query_scalar("SELECT changes FROM people WHERE id = ?").bind(person).fetch_one(&mut *tx).await.unwrap();
    let event = UserProfileUpdated {
        user_id: UserId(person),
        display_name: None,
        status_message: Some(if commit { change.to_string() } else { "rolled back".to_owned() }),
    };
    let version = outbox.append(&mut tx, &event).await.unwrap();
    if commit {
        tx.commit().await.unwrap();
        outbox.wake();
    } else {
        tx.rollback().await.unwrap();
    }
    version
}

pub async fn people(schema: &Schema, number: i64) {
    let rows: Vec<String> = (1..=number).map(|id| format!("({id}, 0)")).collect();
    execute(&schema.pool, &format!("INSERT INTO people VALUES {}", rows.join(","))).await;
}

/// The numbers of each person's changes, in the order in which they first arrived.
pub fn changes_in_order(records: Vec<Fetched>) -> BTreeMap<i64, Vec<i64>> {
    let mut seen: BTreeMap<i64, (u64, Vec<i64>)> = BTreeMap::new();
    for record in records {
        let received = Received::read(record).unwrap();
        let event: UserProfileUpdated = received.decode().unwrap();
        let change: i64 = event.status_message.unwrap().parse().expect("no event that was rolled back");
        let (version, changes) = seen.entry(event.user_id.0).or_default();
        if received.version > *version {
            *version = received.version;
            changes.push(change);
        } else {
            assert!(changes.contains(&change), "an older change of {} arrived late for the first time", event.user_id);
        }
    }
    seen.into_iter().map(|(person, (_, changes))| (person, changes)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_publish_what_many_writers_commit_once_and_in_order() {
    const PEOPLE: i64 = 20;
    const WRITERS: i64 = 8;
    const CHANGES: i64 = 60;
    let (kafka, schema) = (kafka().await, Arc::new(Schema::new().await));
    people(&schema, PEOPLE).await;
    let end = CancellationToken::new();
    let replicas: Vec<Outbox> = (0..2)
        .map(|_| Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics()))
        .collect();
    let relays: Vec<_> = replicas
        .iter()
        .cloned()
        .map(|outbox| {
            let end = end.clone();
            tokio::spawn(async move { outbox.run(end).await })
        })
        .collect();

    let committed = Arc::new(AtomicI64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (schema, outbox, committed) =
                (schema.clone(), replicas[writer as usize % 2].clone(), committed.clone());
            tokio::spawn(async move {
                for n in 0..CHANGES {
                    let commit = n % 7 != 3;
                    change(&schema, &outbox, 1 + (n * 3 + writer) % PEOPLE, commit).await;
                    committed.fetch_add(i64::from(commit), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    until("an empty outbox", || async { schema.pending().await == 0 }).await;

    let all = usize::try_from(committed.load(Ordering::SeqCst)).unwrap();
    let records = read_until(&kafka, &kafka.topics.user_events, |records| records.len() >= all).await;
    assert_eq!(records.len(), all, "each once, because nothing failed");
    for (person, changes) in changes_in_order(records) {
        let kept: i64 = sqlx::query_scalar("SELECT changes FROM people WHERE id = ?")
            .bind(person)
            .fetch_one(&schema.pool)
            .await
            .unwrap();
        assert_eq!(changes, (1..=kept).collect::<Vec<_>>(), "person {person}");
    }
    end.cancel();
    for relay in relays {
        relay.await.unwrap();
    }
    Arc::into_inner(schema).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_soon_in_a_quiet_time_and_with_others_under_a_steady_load() {
    let (kafka, schema) = (kafka().await, Schema::new().await);
    people(&schema, 10).await;
    let outbox = Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics());
    let end = CancellationToken::new();
    let relay = tokio::spawn({
        let (outbox, end) = (outbox.clone(), end.clone());
        async move { outbox.run(end).await }
    });
    let waits_after = async |pause: u64| {
        let mut waits = Vec::new();
        for n in 0..20 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let began = Instant::now();
            change(&schema, &outbox, 1 + n % 10, true).await;
            while schema.pending().await > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            waits.push(began.elapsed());
        }
        waits.sort();
        waits[10]
    };
    let (quiet, steady) = (waits_after(300).await, waits_after(0).await);
    assert!(quiet < Duration::from_millis(200), "{quiet:?}");
    assert!((Duration::from_millis(200)..Duration::from_millis(750)).contains(&steady), "{steady:?}");
    end.cancel();
    relay.await.unwrap();
    schema.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_does_not_wait_for_open_transactions() {
    let (kafka, schema) = (kafka().await, Schema::new().await);
    people(&schema, 2).await;
    let outbox = Outbox::new(schema.pool.clone(), "user", producer(&kafka), kafka.topics.clone(), &metrics());
    let end = CancellationToken::new();
    let relay = tokio::spawn({
        let (outbox, end) = (outbox.clone(), end.clone());
        async move { outbox.run(end).await }
    });
    // Of the same key, without the lock of its row.
    let mut open = mysql::begin(&schema.pool).await.unwrap();
    let event =
        |n: &str| UserProfileUpdated { user_id: UserId(1), display_name: None, status_message: Some(n.to_owned()) };
    outbox.append(&mut open, &event("1")).await.unwrap();
    let mut tx = mysql::begin(&schema.pool).await.unwrap();
    outbox.append(&mut tx, &event("2")).await.unwrap();
    tx.commit().await.unwrap();
    outbox.wake();
    read_until(&kafka, &kafka.topics.user_events, |records| records.len() == 1).await;
    until("the deletion of the published event", || async { schema.pending().await == 0 }).await;
    open.commit().await.unwrap();
    outbox.wake();
    let records = read_until(&kafka, &kafka.topics.user_events, |records| records.len() == 2).await;
    assert_eq!(records.len(), 2, "an event with an older id that commits later is published too");
    end.cancel();
    relay.await.unwrap();
    schema.end().await;
}
