//! Transactions and unique keys of MySQL.

use engines::mysql;
use engines::mysql::OnDuplicate;
use futures_util::FutureExt;
use sqlx::MySqlPool;

use crate::support::{Schema, execute, metrics};

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

async fn people(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM people").fetch_one(pool).await.unwrap()
}
