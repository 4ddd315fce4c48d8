//! A connection returns to the pool without an open transaction.

use engines::mysql;
use futures_util::FutureExt;
use sqlx::MySqlPool;

use crate::support::{Schema, metrics};

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

async fn people(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM people").fetch_one(pool).await.unwrap()
}
