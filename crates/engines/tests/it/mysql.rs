//! The pool keeps nobody's half-begun transaction.

use common::mysql;
use futures_util::FutureExt;
use sqlx::MySqlPool;

use crate::support::{Schema, metrics};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_begin_that_was_given_up_is_committed() {
    let schema = Schema::new().await;
    // One connection, so that each step gets the one that the step before has left.
    let pool = mysql::pool(&schema.url(), 1, &metrics()).unwrap();
    for person in 1..=20_i64 {
        // Asked once, which sends the statement, and given up before the answer.
        drop(mysql::begin(&pool).now_or_never());
        sqlx::query("INSERT INTO people (id) VALUES (?)").bind(person).execute(&pool).await.unwrap();
        assert_eq!(people(&schema.pool).await, person, "acknowledged, so everybody sees it");
    }
    drop(pool);
    schema.end().await;
}

async fn people(pool: &MySqlPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM people").fetch_one(pool).await.unwrap()
}
