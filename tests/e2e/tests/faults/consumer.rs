//! A consumer is killed in the middle of a batch.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, MySqlPool};
use testkit::eventually;

use crate::names::{name, named, nobody, producer, tables};
use crate::stack::Stack;

const PEOPLE: i64 = 150;

/// Events of each of them in a batch: one that comes again must not undo the next.
const NAMES: u64 = 2;

/// Writes down every effect on a name, one that changes nothing too, and slowly: a batch takes so long that a kill finds
/// it half done.
const WATCH: [&str; 3] = [
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

const UNWATCH: [&str; 3] = [
    "DROP TRIGGER IF EXISTS faults_first",
    "DROP TRIGGER IF EXISTS faults_next",
    "DROP TABLE IF EXISTS faults_effects",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn a_consumer_killed_in_the_middle_of_a_batch_applies_nothing_twice() {
    let stack = Stack::whole().await;
    let tables = tables().await;
    run(&tables, &UNWATCH).await;
    run(&tables, &WATCH).await;

    let tried = AssertUnwindSafe(kill_consumers(&stack, &tables)).catch_unwind().await;

    run(&tables, &UNWATCH).await;
    tried.unwrap_or_else(|failure| resume_unwind(failure));
}

async fn kill_consumers(stack: &Stack, tables: &MySqlPool) {
    let replicas = stack.replicas("friend-service").await;
    let (producer, people) = (producer(), nobody(PEOPLE));
    let rounds = stack.sized(3, 20);
    for (round, replica) in (0..rounds).zip(replicas.iter().cycle()) {
        let versions = round * NAMES + 1..=round * NAMES + NAMES;
        let batch = versions.clone().flat_map(|version| people.clone().map(move |id| named(id, version)));
        let reports: Vec<_> = batch.map(|record| producer.send(record).unwrap()).collect();
        let size = reports.len() as i64;
        join_all(reports).await.into_iter().for_each(|report| report.unwrap());
        let worked = || effects(tables, *versions.start());
        eventually("a batch is half done", || async { (worked().await > 0).then_some(()) }).await;
        stack.kill(replica).await;
        assert!(worked().await < size, "the batch was over before the kill");
        stack.start(replica).await;
        eventually("the batch is done", || async { (worked().await >= size).then_some(()) }).await;
    }
    // What was redelivered is worked off too.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let changed: Vec<(i64, u64, i64)> = sqlx::query_as(
        "SELECT user_id, version, CAST(SUM(changed) AS SIGNED) FROM faults_effects GROUP BY user_id, version",
    )
    .fetch_all(tables)
    .await
    .unwrap();
    let wrong: Vec<_> = changed.iter().filter(|(_, _, times)| *times != 1).collect();
    assert!(wrong.is_empty(), "applied twice, or never: {wrong:?}");
    assert_eq!(changed.len() as u64, PEOPLE as u64 * rounds * NAMES, "every event had its effect");
    let names: Vec<(String, u64)> =
        sqlx::query_as("SELECT username, version FROM friend_names WHERE user_id BETWEEN ? AND ?")
            .bind(people.start)
            .bind(people.end - 1)
            .fetch_all(tables)
            .await
            .unwrap();
    assert!(names.len() as i64 == PEOPLE && names.iter().all(|named| *named == (name(rounds * NAMES), rounds * NAMES)));
    let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM faults_effects").fetch_one(tables).await.unwrap();
    let repeats = all - changed.len() as i64;
    println!("  {} effects, {repeats} repeats that changed nothing", changed.len());
    assert!(repeats > 0, "no kill made a batch come again, so nothing was shown");
}

/// How many events from a version on have had an effect, of transactions that are still open too.
async fn effects(tables: &MySqlPool, version: u64) -> i64 {
    let uncommitted = "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; START TRANSACTION";
    #[allow(clippy::disallowed_methods, reason = "nobody gives up waiting here")]
    let mut transaction = tables.begin_with(uncommitted).await.unwrap();
    let counted = sqlx::query_scalar("SELECT COUNT(*) FROM faults_effects WHERE version >= ? AND changed");
    counted.bind(version).fetch_one(&mut *transaction).await.unwrap()
}

async fn run(tables: &MySqlPool, statements: &[&str]) {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(*statement)).execute(tables).await.unwrap();
    }
}
