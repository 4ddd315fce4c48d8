//! Poison records on a topic: the consumer moves them to the dead letters and continues, and an operator replays them.

use serde_json::Value;
use sqlx::MySqlPool;
use testkit::eventually;
use tokio::process::Command;
use uuid::Uuid;

use crate::projection::{friend_schema, producer, record, registration, unassigned_ids};
use crate::stack::{Stack, setting};

const NOT_AN_EVENT: &str = "no event at all";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn poison_becomes_dead_letters_and_the_consumer_continues() {
    let _stack = Stack::all_up().await;
    let pool = friend_schema().await;
    let (producer, users) = (producer(), unassigned_ids(20));
    let key = Uuid::new_v4().to_string();
    let without_username = r#"{"event_type": "UserRegistered", "user_id": 1, "version": 1}"#;
    for id in users.clone() {
        producer.send(registration(id, 1)).unwrap().await.unwrap();
        if id == users.start + 5 {
            producer.send(record(&key, NOT_AN_EVENT)).unwrap().await.unwrap();
            producer.send(record(&key, without_username)).unwrap().await.unwrap();
        }
    }

    eventually("the consumer continues", || async {
        (stored_usernames(&pool, users.clone()).await == users.end - users.start).then_some(())
    })
    .await;
    let letters = dead_letters_of(&key, 2).await;
    let reason = |letter: &Value| letter["reason"].as_str().unwrap().to_owned();
    assert!(reason(&letters[0]).starts_with("not an event"), "{letters:?}");
    assert!(reason(&letters[1]).contains("missing field"), "{letters:?}");
    assert_eq!(letters[1]["event_type"], "UserRegistered");
    assert_eq!(
        (&letters[0]["from"]["topic"], &letters[0]["group"]),
        (&"user.events".into(), &"friend-service-names".into())
    );

    let name = letters[0]["letter"].as_str().unwrap();
    let shown: Value = serde_json::from_str(&dlq(&["show", name]).await).unwrap();
    assert_eq!((&shown["payload"], &shown["key"]), (&NOT_AN_EVENT.into(), &key.as_str().into()));

    // The replayed record is poison again, so it becomes another dead letter. The first one stays.
    dlq(&["replay", name]).await;
    let again = dead_letters_of(&key, 3).await;
    assert_eq!(again[0]["letter"], letters[0]["letter"]);
    assert_ne!(again[2]["from"]["offset"], letters[0]["from"]["offset"]);
}

/// Waits for `count` dead letters with this key. Returns them in the order of their records: of one batch, those that are no events
/// become dead letters last.
async fn dead_letters_of(key: &str, count: usize) -> Vec<Value> {
    eventually("the dead letters are listed", || async {
        let listed = dlq(&["list", "user.events"]).await;
        let letters = listed.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut own: Vec<Value> = letters.filter(|letter: &Value| letter["key"] == key).collect();
        own.sort_by_key(|letter| letter["from"]["offset"].as_i64());
        (own.len() == count).then_some(own)
    })
    .await
}

/// Runs the command `dlq` as an operator does.
async fn dlq(args: &[&str]) -> String {
    let output = Command::new(format!("{}/friend-service", setting("STACK_PROGRAMS")))
        .arg("dlq")
        .args(args)
        .env("DEBUG", "true")
        .env("MYSQL_URL", setting("FRIEND_MYSQL_URL"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn stored_usernames(pool: &MySqlPool, users: std::ops::Range<i64>) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM friend_names WHERE user_id BETWEEN ? AND ?")
        .bind(users.start)
        .bind(users.end - 1)
        .fetch_one(pool)
        .await
        .unwrap()
}
