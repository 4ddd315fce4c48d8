//! Every committed change takes effect in a projection exactly once, although consumers and relays are killed.
//!
//! For a longer run, during which brokers can be killed by hand:
//! `SOAK_SECONDS=120 cargo test -p engines --test it soak -- --nocapture`

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::events::user::UserProfileUpdated;
use engines::error::Result;
use engines::kafka::consumer::{Consumer, Handler};
use engines::kafka::received::Received;
use engines::mysql;
use engines::outbox::Outbox;
use platform::config::KafkaConfig;
use sqlx::MySqlPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::outbox::{change, people};
use crate::support::{Schema, execute, kafka, metrics, producer, until};

const PEOPLE: i64 = 30;
const WRITERS: i64 = 4;

/// Counts the changes of each person. The count is wrong if a change is applied early, twice or never.
#[derive(Clone)]
struct Counts(MySqlPool);

impl Handler for Counts {
    async fn handle(&self, events: &[Received]) -> Result<()> {
        let mut tx = mysql::begin(&self.0).await?;
        for event in events {
            let person = event.decode::<UserProfileUpdated>()?.user_id;
            sqlx::query("UPDATE counts SET changes = changes + 1, version = ? WHERE id = ? AND version < ?")
                .bind(event.version)
                .bind(person)
                .bind(event.version)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Runs a task repeatedly and drops it after each `life`.
fn killed_every<F>(
    life: Duration,
    over: &CancellationToken,
    start: impl Fn(CancellationToken) -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let over = over.clone();
    tokio::spawn(async move {
        while !over.is_cancelled() {
            let _ = tokio::time::timeout(life, start(over.clone())).await;
        }
    })
}

fn duration() -> Duration {
    Duration::from_secs(std::env::var("SOAK_SECONDS").map_or(6, |seconds| seconds.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_takes_effect_once_although_consumers_and_relays_are_killed() {
    let (kafka, schema) = (kafka().await, Arc::new(Schema::new().await));
    people(&schema, PEOPLE).await;
    execute(
        &schema.pool,
        "CREATE TABLE counts (id BIGINT PRIMARY KEY, version BIGINT UNSIGNED NOT NULL, changes BIGINT NOT NULL);
         INSERT INTO counts SELECT id, 0, 0 FROM people",
    )
    .await;
    let over = CancellationToken::new();
    let mut tasks = Vec::new();
    let mut outboxes = Vec::new();
    for life in [Duration::from_millis(1_300), Duration::from_millis(3_000)] {
        let producer = producer(&kafka);
        let (pool, topics) = (schema.pool.clone(), kafka.topics.clone());
        let outbox = Outbox::new(pool.clone(), "user", producer.clone(), topics.clone(), &metrics());
        outboxes.push(outbox.clone());
        tasks.push(killed_every(life, &over, move |over| {
            let outbox = outbox.clone();
            async move { outbox.run(over).await }
        }));
        let kafka = KafkaConfig::clone(&kafka);
        tasks.push(killed_every(life * 2, &over, move |over| {
            let topic = kafka.topics.user_events.as_str();
            let counts = Counts(pool.clone());
            Consumer::new(&kafka, &producer, &format!("{topic}.counts"), &[topic], counts).unwrap().run(over)
        }));
    }

    let end = Instant::now() + duration();
    let writers = (0..WRITERS).map(|writer| {
        let (schema, outbox) = (schema.clone(), outboxes[writer as usize % 2].clone());
        tokio::spawn(async move {
            let mut n = writer;
            while Instant::now() < end {
                change(&schema, &outbox, 1 + n % PEOPLE, n % 11 != 0).await;
                n += 7;
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    until("an empty outbox", || async { schema.pending().await == 0 }).await;
    until("every effect, once", || async { differences(&schema.pool).await == 0 }).await;
    let changes: i64 =
        sqlx::query_scalar("SELECT CAST(SUM(changes) AS SIGNED) FROM counts").fetch_one(&schema.pool).await.unwrap();
    println!("{changes} changes, each with one effect");
    over.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    drop(outboxes);
    Arc::into_inner(schema).unwrap().end().await;
}

/// The number of people whose counted changes differ from their changes.
async fn differences(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM people JOIN counts USING (id) WHERE people.changes <> counts.changes")
        .fetch_one(pool)
        .await
        .unwrap()
}
