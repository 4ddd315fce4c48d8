//! Poison on a topic: it goes to the dead letters, the rest flows on, and an operator finds it and sends it again.

use serde_json::Value;
use sqlx::MySqlPool;
use testkit::eventually;
use tokio::process::Command;
use uuid::Uuid;

use crate::names::{named, nobody, producer, record, tables};
use crate::stack::{Stack, setting};

const GARBAGE: &str = "no event at all";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn poison_is_put_aside_and_found_and_the_rest_flows_on() {
    let _stack = Stack::whole().await;
    let tables = tables().await;
    let (producer, people) = (producer(), nobody(20));
    let key = Uuid::new_v4().to_string();
    let nameless = r#"{"event_type": "UserRegistered", "user_id": 1, "version": 1}"#;
    for id in people.clone() {
        producer.send(named(id, 1)).unwrap().await.unwrap();
        if id == people.start + 5 {
            producer.send(record(&key, GARBAGE)).unwrap().await.unwrap();
            producer.send(record(&key, nameless)).unwrap().await.unwrap();
        }
    }

    eventually("the rest flows on", || async {
        (known(&tables, people.clone()).await == people.end - people.start).then_some(())
    })
    .await;
    let letters = letters_of(&key, 2).await;
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
    assert_eq!((&shown["payload"], &shown["key"]), (&GARBAGE.into(), &key.as_str().into()));

    // It is still poison, so it comes back as another letter; the first one stays where it is.
    dlq(&["replay", name]).await;
    let again = letters_of(&key, 3).await;
    assert_eq!(again[0]["letter"], letters[0]["letter"]);
    assert_ne!(again[2]["from"]["offset"], letters[0]["from"]["offset"]);
}

/// Waits for so many dead letters with this key.
async fn letters_of(key: &str, count: usize) -> Vec<Value> {
    eventually("the dead letters are there", || async {
        let listed = dlq(&["list", "user.events"]).await;
        let letters = listed.lines().map(|line| serde_json::from_str(line).unwrap());
        let own: Vec<Value> = letters.filter(|letter: &Value| letter["key"] == key).collect();
        (own.len() == count).then_some(own)
    })
    .await
}

/// The command as an operator gives it.
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

async fn known(tables: &MySqlPool, people: std::ops::Range<i64>) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM friend_names WHERE user_id BETWEEN ? AND ?")
        .bind(people.start)
        .bind(people.end - 1)
        .fetch_one(tables)
        .await
        .unwrap()
}
