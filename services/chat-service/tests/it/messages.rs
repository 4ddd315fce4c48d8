//! Messages: sent once, listed in order, changed by their author.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Events, Space};
use tokio::time::timeout;

use crate::app::TestApp;

fn contents(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["content"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_is_answered_listed_and_told_to_the_others() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.two_in_a_room().await;

    let sent = ann.says(room, "안녕하세요 👋🏽").await;

    assert_eq!((&sent["user_id"], &sent["room_id"], &sent["seq"]), (&json!(1), &json!(room), &json!(1)));
    assert_eq!((&sent["room_type"], &sent["message_type"]), (&json!("private"), &json!("text")));
    assert_eq!(
        (&sent["is_deleted"], &sent["is_edited"], &sent["file_url"]),
        (&json!(false), &json!(false), &json!(null))
    );
    assert!(sent["created_at"].as_str().unwrap().ends_with('Z'));
    let page = bob.client.get(&format!("/api/messages/{room}")).await.expect(200);
    let mut seen_by_bob = sent.clone();
    (seen_by_bob["read_by"], seen_by_bob["is_read"]) = (json!([]), json!(false));
    assert_eq!(page["messages"][0], seen_by_bob);
    assert_eq!((&page["total_count"], &page["has_more"], &page["position"]), (&json!(1), &json!(false), &json!(1)));
    let told = Events::of(&app.space.topics().message_events).expect("MessageSent", 1).await;
    assert_eq!((&told[0]["message_id"], &told[0]["position"]), (&sent["id"], &json!(1)));
    assert_eq!((&told[0]["__event_type__"], &told[0]["username"]), (&json!("MessageSent"), &json!("person_1")));
}

#[tokio::test]
async fn positions_are_one_two_three_whoever_sends_at_once() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let other = app.replica().await;
    let bob_elsewhere = app.person_at(&other, bob.id);

    let of_ann = join_all((0..30).map(|n| async move { n }).map(|_| ann.says(room, "a")));
    let of_bob = join_all((0..30).map(|_| bob_elsewhere.says(room, "b")));
    let (of_ann, of_bob) = tokio::join!(of_ann, of_bob);

    let mut answered: Vec<i64> = of_ann.iter().chain(&of_bob).map(|m| m["seq"].as_i64().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=60).collect::<Vec<_>>());
    let listed: Vec<i64> = ann.messages(room).await.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
    assert_eq!(listed, answered);
}

#[tokio::test]
async fn what_says_nothing_or_too_much_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.two_in_a_room().await;
    let send = async |body: Value| ann.client.post(&format!("/messages/{room}"), body).await;

    for body in [
        json!({}),
        json!({"content": ""}),
        json!({"content": "가".repeat(301)}),
        json!({"content": 5}),
        json!({"content": "a", "message_type": "video"}),
        json!({"content": "a", "client_message_id": "x".repeat(65)}),
        json!([]),
    ] {
        let refused = send(body).await.expect(422);
        assert_eq!(refused["error"], "validation_error");
    }
    for body in [json!({"content": " \n\t"}), json!({"content": "a", "message_type": "system"})] {
        let refused = send(body).await.expect(400);
        assert_eq!(
            (&refused["error"], &refused["detail"]["error"]),
            (&json!("INVALID_INPUT"), &json!("INVALID_INPUT"))
        );
    }
    send(json!({"content": "👨‍👩‍👧".repeat(60)})).await.expect(201);
    send(json!({"content": "a", "reply_to": "0123456789abcdef01234567"})).await.expect(400);
    assert_eq!(ann.messages(room).await.len(), 1);
}

#[tokio::test]
async fn a_repeat_gets_the_first_message_back() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let other = app.replica().await;
    let send = async |client: &testkit::Client, content: &str| {
        client.post(&format!("/messages/{room}"), json!({"content": content, "client_message_id": "c-1"})).await
    };
    let elsewhere = app.person_at(&other, ann.id).client;

    let at_once = join_all((0..20).map(|n| send(if n % 2 == 0 { &ann.client } else { &elsewhere }, "first"))).await;

    let created = at_once.iter().filter(|answer| answer.status == 201).count();
    assert_eq!((created, at_once.iter().filter(|answer| answer.status == 200).count()), (1, 19));
    let repeated = send(&ann.client, "another text").await.expect(200);
    assert!(at_once.iter().all(|answer| answer.body["id"] == repeated["id"]));
    assert_eq!(repeated["content"], "first");
    send(&bob.client, "mine").await.expect(201);
    assert_eq!(contents(&ann.messages(room).await), ["first", "mine"]);
    let told = Events::of(&app.space.topics().message_events).expect("MessageSent", 2).await;
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn pages_go_back_by_skip_and_by_cursor() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.two_in_a_room().await;
    let mut ids = Vec::new();
    for n in 1..=7 {
        ids.push(ann.says(room, &n.to_string()).await["id"].as_str().unwrap().to_owned());
    }
    let page = async |query: &str| ann.client.get(&format!("/messages/{room}?{query}")).await.expect(200);

    let newest = page("limit=3").await;
    assert_eq!(contents(newest["messages"].as_array().unwrap()), ["5", "6", "7"]);
    assert_eq!((&newest["total_count"], &newest["has_more"]), (&json!(7), &json!(true)));
    let skipped = page("limit=3&skip=5").await;
    assert_eq!(contents(skipped["messages"].as_array().unwrap()), ["1", "2"]);
    assert_eq!(skipped["has_more"], false);
    let before = page(&format!("limit=2&before={}", ids[4])).await;
    assert_eq!(contents(before["messages"].as_array().unwrap()), ["3", "4"]);
    let after = page(&format!("limit=2&after={}", ids[4])).await;
    assert_eq!((contents(after["messages"].as_array().unwrap()), &after["has_more"]), (vec!["6", "7"], &json!(false)));
    for unknown in ["0123456789abcdef01234567", "x"] {
        ann.client.get(&format!("/messages/{room}?before={unknown}")).await.expect(404);
    }
    let by_query = ann.client.get(&format!("/messages?room_id={room}&limit=2&offset=1")).await.expect(200);
    assert_eq!(contents(by_query["messages"].as_array().unwrap()), ["5", "6"]);
    ann.client.get(&format!("/messages/{room}?limit=101")).await.expect(422);
    ann.client.get("/messages").await.expect(422);
}

#[tokio::test]
async fn only_its_author_changes_a_message() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let sent = ann.says(room, "frist").await;
    let path = format!("/messages/{}", sent["id"].as_str().unwrap());

    bob.client.put(&path, json!({"content": "mine"})).await.expect(403);
    bob.client.delete(&path).await.expect(403);
    let edited = ann.client.put(&path, json!({"content": "first"})).await.expect(200);
    assert_eq!((&edited["content"], &edited["is_edited"], &edited["seq"]), (&json!("first"), &json!(true), &json!(1)));
    ann.client.put(&path, json!({"content": " "})).await.expect(400);
    ann.client.put(&path, json!({"content": ""})).await.expect(422);
    assert_eq!(ann.client.delete(&path).await.expect(200), json!({"message": "Message deleted"}));
    let again = ann.client.delete(&path).await.expect(400);
    assert_eq!(
        (&again["error"], &again["message"]),
        (&json!("MESSAGE_ALREADY_DELETED"), &json!("Message is already deleted"))
    );
    let late = ann.client.put(&path, json!({"content": "late"})).await.expect(400);
    assert_eq!(late["message"], "Cannot edit a deleted message");
    for unknown in ["/messages/0123456789abcdef01234567", "/messages/not-an-id"] {
        assert_eq!(ann.client.delete(unknown).await.expect(404)["message"], "Message not found");
    }
    assert!(ann.messages(room).await.is_empty());
    let next = ann.says(room, "second").await;
    assert_eq!(next["seq"], 4, "an edit and a deletion took positions of their own");
}

#[tokio::test]
async fn the_room_list_follows_edits_and_deletions_of_its_last_message() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.two_in_a_room().await;
    ann.says(room, "one").await;
    let two = ann.says(room, "two").await;
    let path = format!("/messages/{}", two["id"].as_str().unwrap());
    let last =
        async || ann.client.get(&format!("/chat-rooms/{room}")).await.expect(200)["last_message"]["content"].clone();

    ann.client.put(&path, json!({"content": "zwei"})).await.expect(200);
    assert_eq!(last().await, "zwei");
    ann.client.delete(&path).await.expect(200);
    assert_eq!(last().await, "one");
}

/// The driver's pool serves one waiting request whenever something happens to it, even one that nobody waits for any more.
#[tokio::test]
async fn readers_who_hang_up_keep_nobody_waiting() {
    let space = Space::new();
    let (mysql_url, mongo_url) = (space.schema("chat").await, format!("{}&maxPoolSize=1", space.mongo_url()));
    let app = TestApp::start_in(space, &mysql_url, &[("MONGO_URL", mongo_url)]).await;
    let (ann, bob, room) = app.two_in_a_room().await;
    join_all((0..100).map(|_| ann.says(room, "x"))).await;

    let hasty = (0..100).map(|_| timeout(Duration::from_millis(200), bob.messages(room)));
    let answered = join_all(hasty).await.into_iter().filter(Result::is_ok).count();

    assert!(answered < 90, "{answered} did not hang up");
    timeout(Duration::from_secs(6), ann.says(room, "still here?")).await.expect("an answer within 6 s");
}
