//! The budgets of a user's writes.

use serde_json::json;
use testkit::{accepted, early_in_a_minute, eventually, redis_link};

use crate::app::TestApp;
use crate::person::message_path;

fn limits(messages: u64, changes: u64, rooms: u64) -> [(&'static str, String); 3] {
    [
        ("WRITE_LIMIT_MESSAGES", messages.to_string()),
        ("WRITE_LIMIT_CHANGES", changes.to_string()),
        ("WRITE_LIMIT_ROOMS", rooms.to_string()),
    ]
}

#[tokio::test]
async fn messages_beyond_the_budget_are_refused_and_not_stored() {
    let app = TestApp::start_with(&limits(3, 0, 0)).await;
    let (ann, bob, room) = app.direct_room().await;
    early_in_a_minute().await;

    assert_eq!(accepted(5, async || ann.tries_to_send(room, "hi").await).await, 3);
    let body = json!({"room_id": room, "content": "hi"});
    assert_eq!(accepted(1, async || ann.client.post("/messages", body.clone()).await).await, 0);
    assert_eq!(ann.messages(room).await.len(), 3);
    bob.sends(room, "a budget of their own").await;
    let metrics = app.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"write_budget_refused_total{budget="messages",service="chat-service"} 3"#));
    assert!(metrics.contains(r#"write_budget_refused_total{budget="rooms",service="chat-service"} 0"#));
}

#[tokio::test]
async fn changes_beyond_the_budget_are_refused_and_change_nothing() {
    let app = TestApp::start_with(&limits(0, 3, 0)).await;
    let (ann, bob, room) = app.direct_room().await;
    let message = message_path(&ann.sends(room, "first").await);
    bob.sends(room, "unread").await;
    early_in_a_minute().await;
    assert_eq!(accepted(3, async || ann.client.put(&message, json!({"content": "edited"})).await).await, 3);

    let client = &ann.client;
    let reaction = format!("{message}/reactions/👍");
    assert_eq!(accepted(1, async || client.put(&message, json!({"content": "again"})).await).await, 0);
    assert_eq!(accepted(1, async || client.delete(&message).await).await, 0);
    assert_eq!(accepted(1, async || client.put(&reaction, json!({})).await).await, 0);
    assert_eq!(accepted(1, async || client.delete(&reaction).await).await, 0);
    assert_eq!(accepted(1, async || client.post("/messages/read", json!({"room_id": room})).await).await, 0);
    let typing = format!("/messages/{room}/typing");
    assert_eq!(accepted(1, async || client.post(&typing, json!({})).await).await, 0);
    assert_eq!(accepted(1, async || client.post("/messages/stream/ticket", json!({})).await).await, 0);
    for setting in ["pin", "mute"].map(|setting| format!("/chat-rooms/{room}/{setting}")) {
        assert_eq!(accepted(1, async || client.put(&setting, json!({})).await).await, 0);
        assert_eq!(accepted(1, async || client.delete(&setting).await).await, 0);
    }

    let messages = ann.messages(room).await;
    assert_eq!((messages.len(), &messages[0]["content"]), (2, &json!("edited")));
    assert!(messages[0]["reactions"].as_array().is_none_or(Vec::is_empty), "{}", messages[0]);
    assert_eq!(ann.unread(room).await, 1);
    ann.sends(room, "messages have a budget of their own").await;
}

#[tokio::test]
async fn pages_at_unknown_messages_beyond_the_budget_are_refused() {
    let app = TestApp::start_with(&limits(0, 3, 0)).await;
    let (ann, _, room) = app.direct_room().await;
    let known = ann.sends(room, "known").await;
    early_in_a_minute().await;

    let page = async |id: &str| ann.client.get(&format!("/messages/{room}?before={id}")).await;
    for _ in 0..3 {
        page("6744a3f1c2b5d6e7f8091a2b").await.expect(404);
        page("malformed").await.expect(404);
    }
    page("6744a3f1c2b5d6e7f8091a2b").await.expect(429);
    let foreign = app.person(3).sends(app.person(3).room_with(4).await, "foreign").await;
    page(foreign["id"].as_str().unwrap()).await.expect(429);
    page(known["id"].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn a_large_group_counts_as_several_rooms() {
    let app = TestApp::start_with(&limits(0, 0, 6)).await;
    let ann = app.person(1);
    early_in_a_minute().await;
    let group = ann.group_with(&(2..=120).collect::<Vec<_>>()).await;

    assert_eq!(accepted(4, async || ann.client.post("/chat-rooms", json!({"participant_ids": [2, 3]})).await).await, 3);
    assert_eq!(accepted(1, async || ann.adds(group, &[121]).await).await, 0);
}

#[tokio::test]
async fn a_repeated_id_counts_once() {
    let app = TestApp::start_with(&limits(0, 0, 4)).await;
    let ann = app.person(1);
    early_in_a_minute().await;
    let group = ann.group_with(&[2, 3]).await;

    assert_eq!(accepted(3, async || ann.adds(group, &[4; 120]).await).await, 3);
}

#[tokio::test]
async fn rooms_beyond_the_budget_are_refused_and_existing_ones_are_found() {
    let app = TestApp::start_with(&limits(0, 0, 3)).await;
    let ann = app.person(1);
    early_in_a_minute().await;
    let room = ann.room_with(2).await;
    let group = ann.group_with(&[2, 3]).await;
    ann.adds(group, &[4]).await.expect(200);

    let group_of = |users: &[i64]| json!({"participant_ids": users});
    // So that each act is refused by its own check, also if an earlier one has spent nothing.
    accepted(3, async || ann.client.post("/chat-rooms", group_of(&[2, 3])).await).await;
    assert_eq!(accepted(1, async || ann.client.post("/chat-rooms", group_of(&[2, 3])).await).await, 0);
    assert_eq!(accepted(1, async || ann.client.post("/chat-rooms", group_of(&[5])).await).await, 0);
    assert_eq!(accepted(1, async || ann.client.get("/chat-rooms/check/5").await).await, 0);
    assert_eq!(accepted(1, async || ann.adds(group, &[5]).await).await, 0);
    assert_eq!(accepted(1, async || ann.removes(group, 3).await).await, 0);
    assert_eq!(accepted(1, async || ann.removes(group, 1).await).await, 0);
    for _ in 0..5 {
        assert_eq!(ann.room_with(2).await, room, "finding a room is no write");
    }

    let rooms = ann.rooms().await;
    assert_eq!(rooms.len(), 2);
    let members = rooms.iter().find(|room| room["id"] == group).map(|group| group["member_count"].clone());
    assert_eq!(members, Some(json!(4)));
    app.person(3).removes(group, 3).await.expect(200);
}

#[tokio::test]
async fn replicas_share_the_budgets() {
    let app = TestApp::start_with(&limits(10, 0, 0)).await;
    let replica = app.replica().await;
    let next = std::sync::atomic::AtomicI64::new(1);

    // An attempt may fall into two minutes, and a loaded machine may miss the deadline for Redis.
    eventually("the replicas accept the budget together", || async {
        let id = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (here, there) = (app.person(id), app.person_at(&replica, id));
        let room = here.room_with(1_000).await;
        let here = accepted(7, async || here.tries_to_send(room, "here").await).await;
        let there = accepted(7, async || there.tries_to_send(room, "there").await).await;
        assert!(here == 7 && there >= 3, "{here} and {there}");
        (there == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_writes_are_accepted_and_bounded() {
    let (link, through_link) = redis_link().await;
    let app = TestApp::start_with(&[&limits(10, 0, 0)[..], &through_link].concat()).await;
    let (ann, _, room) = app.direct_room().await;
    link.set_faulty(true);
    early_in_a_minute().await;

    assert_eq!(accepted(15, async || ann.tries_to_send(room, "alone").await).await, 10);
    assert_eq!(ann.messages(room).await.len(), 10);
    assert!(link.cuts() > 0);
}
