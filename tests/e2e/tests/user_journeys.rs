//! User journeys through the gateway: registration, friendship, chat, block, and logout. The conversation of the README.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{PASSWORD, Person, gateway, story};
use serde_json::{Value, json};
use testkit::{SLACK, eventually, skip};

const README: &str = include_str!("../../../README.md");

#[tokio::test]
async fn two_users_become_friends_and_chat() {
    story::two_users_become_friends_and_chat().await;
}

#[tokio::test]
async fn messages_sent_while_a_reader_is_disconnected_arrive_once_after_it_reconnects() {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    let path = format!("/api/messages/stream/{room}");
    let mut before = bob.client.stream(&path, None).await;
    before.next().await;
    ann.send_message(room, "received").await;
    let last = before.next().await.id;
    drop(before);
    ann.send_message(room, "missed").await;

    let mut tabs = [bob.client.stream(&path, Some(&last)).await, bob.client.stream(&path, Some(&last)).await];
    for tab in &mut tabs {
        assert_eq!(tab.next().await.name, "connected");
    }
    ann.send_message(room, "live").await;

    for tab in &mut tabs {
        let contents = [tab.next().await.data["content"].clone(), tab.next().await.data["content"].clone()];
        assert_eq!(contents, ["missed", "live"]);
    }
}

#[tokio::test]
async fn a_block_ends_the_friendship_and_prevents_messages_in_both_directions() {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    ann.send_message(room, "hello").await;

    ann.client.post(&format!("/api/friends/block/{}", bob.id), json!({})).await.expect(200);

    let blocked = Instant::now();
    let hello = json!({"content": "hello?"});
    for person in [&ann, &bob] {
        eventually("messages are refused", || async {
            let answer = person.client.post(&format!("/api/messages/{room}"), hello.clone()).await;
            (answer.status == 403 && answer.body["error"] == "BLOCKED").then_some(())
        })
        .await;
    }
    // The deadline of the contract is two seconds.
    assert!(blocked.elapsed() < SLACK * Duration::from_secs(2));
    assert_eq!(bob.client.get("/api/friends/list").await.expect(200), json!([]));
    bob.client.post("/api/friends/request", json!({"user_id_2": ann.id})).await.expect(403);
}

#[tokio::test]
async fn a_logout_ends_the_session_everywhere() {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    let mut stream = ann.client.stream(&format!("/api/messages/stream/{room}"), None).await;
    stream.next().await;

    let logout = ann.client.post("/api/auth/logout", json!({})).await.expect(200);

    assert_eq!(logout, json!({"message": "Successfully logged out", "user_id": ann.id}));
    for path in ["/api/profile/me", "/api/friends/list", "/api/chat-rooms"] {
        eventually(path, || async { (ann.client.get(path).await.status == 401).then_some(()) }).await;
    }
    assert!(stream.try_next().await.is_none(), "the streams of the session end");
    let again = json!({"email": ann.email, "password": PASSWORD});
    gateway().post("/api/auth/login/json", again).await.expect(200);
}

#[tokio::test]
async fn forged_identities_are_rejected() {
    let ann = Person::sign_up("ann").await;
    let id = ann.id.to_string();
    let forged = gateway().with_header("x-user-id", &id).with_header("x-user-email", &ann.email);
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5LCJ0eXBlIjoiYWNjZXNzIn0.";
    let mut broken = ann.client.token().to_owned();
    broken.truncate(broken.len() - 2);

    for path in ["/api/profile/me", "/api/friends/list", "/api/chat-rooms"] {
        for token in ["", none, &broken] {
            let refused = forged.with_token(token).get(path).await.expect(401);
            assert_eq!(
                (&refused["error"], &refused["detail"]),
                (&json!("authentication_error"), &json!("Not authenticated"))
            );
        }
    }
}

#[tokio::test]
async fn internal_paths_are_not_routed() {
    let ann = Person::sign_up("ann").await;

    for path in [
        format!("/api/users/{}/exists", ann.id),
        "/api/friends/blocks".into(),
        "/metrics".into(),
        "/health/ready".into(),
    ] {
        assert_eq!(ann.client.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(ann.client.post("/api/users/batch", json!({"user_ids": [ann.id]})).await.status, 404);
}

#[test]
fn the_conversation_of_the_readme_can_be_repeated() {
    let is_here = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !["bash", "curl", "python3"].into_iter().all(is_here) {
        return skip("the conversation of the README needs bash, curl and python3");
    }
    let url = std::env::var("GATEWAY_URL").expect("GATEWAY_URL is not set: run the tests with `cargo stack test`");
    let section = README.split("## A first conversation\n").nth(1).unwrap();
    let script = section.split("```bash\n").nth(1).unwrap().split("```").next().unwrap();
    let script = script.replace("http://localhost:8000", &url);

    for _ in 0..2 {
        let ran = Command::new("bash").args(["-c", &script]).output().unwrap();
        let output = String::from_utf8(ran.stdout).unwrap();
        // The first stream writes between the answers.
        let events = output.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let received: Vec<Value> = events.filter_map(|event| event.get("content").cloned()).collect();
        assert_eq!(received, ["안녕하세요 👋", "거기 있어요?"], "{output}{}", String::from_utf8_lossy(&ran.stderr));
    }
}
