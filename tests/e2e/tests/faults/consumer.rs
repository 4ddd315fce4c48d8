//! A consumer is killed in the middle of a batch.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, MySqlPool};
use testkit::eventually;

use crate::projection::{friend_schema, producer, registration, unassigned_ids, username};
use crate::stack::Stack;

const USERS: i64 = 150;

/// The events of each user in a batch. A repeated event must not undo the next one.
const EVENTS_PER_USER: u64 = 2;

/// Triggers that record every write to the projection, also a write without a change. They are slow, so that a kill hits
/// the middle of a batch.
const CREATE_TRIGGERS: [&str; 3] = [
    "CREATE TABLE faults_effects (user_id BIGINT NOT NULL, version BIGINT UNSIGNED NOT NULL, changed BOOL NOT NULL)",
    "CREATE TRIGGER faults_first AFTER INSERT ON friend_names FOR EACH ROW BEGIN
       DO SLEEP(0.003);
       INSERT INTO faults_effects VALUES (NEW.user_id, NEW.version, TRUE);
     END",
    "CREATE TRIGGER faults_next AFTER UPDATE ON friend_names FOR EACH ROW BEGIN
       DO SLEEP(0.003);
       INSERT INTO faults_effects VALUES (NEW.user_id, NEW.version, NEW.version <> OLD.version OR NEW.username <> OLD.username);
     END",
];

const DROP_TRIGGERS: [&str; 3] = [
    "DROP TRIGGER IF EXISTS faults_first",
    "DROP TRIGGER IF EXISTS faults_next",
    "DROP TABLE IF EXISTS faults_effects",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn a_consumer_killed_in_the_middle_of_a_batch_applies_nothing_twice() {
    let stack = Stack::all_up().await;
    let pool = friend_schema().await;
    execute(&pool, &DROP_TRIGGERS).await;
    execute(&pool, &CREATE_TRIGGERS).await;

    let result = AssertUnwindSafe(kill_consumers(&stack, &pool)).catch_unwind().await;

    execute(&pool, &DROP_TRIGGERS).await;
    result.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn kill_consumers(stack: &Stack, pool: &MySqlPool) {
    let replicas = stack.replicas("friend-service").await;
    let (producer, users) = (producer(), unassigned_ids(USERS));
    let rounds = stack.sized(3, 20);
    for (round, replica) in (0..rounds).zip(replicas.iter().cycle()) {
        let versions = round * EVENTS_PER_USER + 1..=(round + 1) * EVENTS_PER_USER;
        let batch = versions.clone().flat_map(|version| users.clone().map(move |id| registration(id, version)));
        let reports: Vec<_> = batch.map(|record| producer.send(record).unwrap()).collect();
        let size = reports.len() as i64;
        join_all(reports).await.into_iter().for_each(|report| report.unwrap());
        let done = || changes_since(pool, *versions.start());
        eventually("the batch is half done", || async { (done().await > 0).then_some(()) }).await;
        stack.kill(replica).await;
        assert!(done().await < size, "the kill came after the end of the batch");
        stack.start(replica).await;
        eventually("the batch is done", || async { (done().await >= size).then_some(()) }).await;
    }
    // The consumer processes the redelivered records too.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let changed: Vec<(i64, u64, i64)> = sqlx::query_as(
        "SELECT user_id, version, CAST(SUM(changed) AS SIGNED) FROM faults_effects GROUP BY user_id, version",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let wrong: Vec<_> = changed.iter().filter(|(_, _, times)| *times != 1).collect();
    assert!(wrong.is_empty(), "not applied exactly once: {wrong:?}");
    assert_eq!(changed.len() as u64, USERS as u64 * rounds * EVENTS_PER_USER, "every event was applied");
    let names: Vec<(String, u64)> =
        sqlx::query_as("SELECT username, version FROM friend_names WHERE user_id BETWEEN ? AND ?")
            .bind(users.start)
            .bind(users.end - 1)
            .fetch_all(pool)
            .await
            .unwrap();
    let last = rounds * EVENTS_PER_USER;
    assert!(names.len() as i64 == USERS && names.iter().all(|stored| *stored == (username(last), last)));
    let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM faults_effects").fetch_one(pool).await.unwrap();
    let repeats = all - changed.len() as i64;
    println!("  {} changes, {repeats} repeats without a change", changed.len());
    assert!(repeats > 0, "no batch was redelivered, so the test proves nothing");
}

/// The number of changes by events of this version and later, including those of open transactions.
async fn changes_since(pool: &MySqlPool, version: u64) -> i64 {
    let uncommitted = "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; START TRANSACTION";
    #[allow(clippy::disallowed_methods, reason = "this call is never cancelled")]
    let mut transaction = pool.begin_with(uncommitted).await.unwrap();
    let counted = sqlx::query_scalar("SELECT COUNT(*) FROM faults_effects WHERE version >= ? AND changed");
    counted.bind(version).fetch_one(&mut *transaction).await.unwrap()
}

async fn execute(pool: &MySqlPool, statements: &[&str]) {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(*statement)).execute(pool).await.unwrap();
    }
}
