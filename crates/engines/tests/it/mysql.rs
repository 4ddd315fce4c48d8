//! Transactions and unique keys of MySQL, and the check whether it answers.

use std::time::Duration;

use engines::mysql;
use engines::mysql::OnDuplicate;
use futures_util::FutureExt;
use platform::health::Health;
use platform::shutdown::Shutdown;
use sqlx::MySqlPool;
use sqlx::migrate::Migrator;

use crate::support::{Schema, execute, metrics, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_after_a_dropped_begin_is_committed() {
    let schema = Schema::new().await;
    // One connection, so that each step uses the connection of the step before.
    let pool = mysql::pool(&schema.url(), 1, &metrics()).unwrap();
    for person in 1..=20_i64 {
        // Polled once, which sends the statement, and dropped before the answer.
        drop(mysql::begin(&pool).now_or_never());
        sqlx::query("INSERT INTO people (id) VALUES (?)").bind(person).execute(&pool).await.unwrap();
        assert_eq!(people(&schema.pool).await, person, "acknowledged, so other connections see it");
    }
    drop(pool);
    schema.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_shows_no_commit_before_it_is_on_disk() {
    let schema = Schema::new().await;
    assert!(mysql::shows_durable_commits_only(&mut schema.pool.acquire().await.unwrap()).await.unwrap());
    schema.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violation_of_another_key_is_an_error() {
    let schema = Schema::new().await;
    execute(&schema.pool, "CREATE TABLE seats (number BIGINT, person BIGINT)").await;
    execute(&schema.pool, "ALTER TABLE seats ADD UNIQUE KEY one_number (number), ADD UNIQUE KEY one_person (person)")
        .await;
    let take = async |number: i64, person: i64| {
        let insert = sqlx::query("INSERT INTO seats (number, person) VALUES (?, ?)").bind(number).bind(person);
        insert.execute(&schema.pool).await.unless_duplicate("one_number")
    };

    assert!(take(1, 1).await.unwrap().is_some());
    assert!(take(1, 2).await.unwrap().is_none(), "the key that is asked for");
    assert!(take(2, 1).await.is_err(), "another key");
    schema.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_does_not_delay_the_check_of_the_server() {
    let schema = Schema::empty().await;
    let pool = mysql::pool(&schema.url(), 2, &metrics()).unwrap();
    let _slow_requests = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let health = Health::new(Shutdown::new(), &metrics()).unwrap();
    mysql::prepare(&pool, &health, "user", || Migrator::with_migrations(Vec::new()));
    let report = || serde_json::to_value(health.report()).unwrap()["dependencies"][0].clone();
    until("the tables are prepared", async || report()["status"] == "ready").await;
    let prepared = report();

    until("a check after the preparation", async || report()["latency_ms"] != prepared["latency_ms"]).await;

    let checked = report();
    let latency = Duration::from_secs_f64(checked["latency_ms"].as_f64().unwrap() / 1000.0);
    assert!(
        checked["status"] == "ready" && latency < Duration::from_secs(2),
        "it does not wait for the pool: {checked}"
    );
    schema.end().await;
}

async fn people(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM people").fetch_one(pool).await.unwrap()
}
