//! The live stream of a room: everything once, in order, whatever happens to the connection.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::{Sse, eventually};

use crate::app::TestApp;

async fn positions(stream: &mut Sse, n: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < n {
        seen.push(stream.next().await.id.parse().unwrap());
    }
    seen
}

#[tokio::test]
async fn a_reader_is_greeted_and_gets_what_is_sent() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    ann.says(room, "before").await;

    let mut stream = bob.client.stream(&format!("/api/messages/stream/{room}"), None).await;

    let connected = stream.next().await;
    assert_eq!((connected.name.as_str(), connected.id.as_str()), ("connected", "1"));
    assert_eq!(connected.data, json!({"message": format!("Connected to room {room}"), "room_id": room, "user_id": 2}));
    let sent = ann.says(room, "now").await;
    let heard = stream.next().await;
    assert_eq!((heard.name.as_str(), heard.id.as_str()), ("new_message", "2"));
    let wanted = json!({"id": sent["id"], "user_id": 1, "username": "person_1", "room_id": room, "content": "now",
        "message_type": "text", "created_at": sent["created_at"], "is_deleted": false, "seq": 2,
        "client_message_id": null, "reply_to": null});
    assert_eq!(heard.data, wanted);
}

#[tokio::test]
async fn two_streams_of_one_person_both_get_everything() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/stream/{room}");
    let mut tabs = join_all([bob.client.stream(&path, None), bob.client.stream(&path, None)]).await;
    for tab in &mut tabs {
        assert_eq!(tab.next().await.name, "connected");
    }

    join_all((0..40).map(|n| async move { n }).map(|_| ann.says(room, "x"))).await;

    for tab in &mut tabs {
        assert_eq!(positions(tab, 40).await, (1..=40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_once_and_in_order() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/stream/{room}");
    let mut first = bob.client.stream(&path, None).await;
    first.next().await;
    ann.says(room, "1").await;
    let last_seen = first.next().await.id;
    drop(first);
    for n in 2..=450 {
        ann.says(room, &n.to_string()).await;
    }

    let mut second = bob.client.stream(&path, Some(&last_seen)).await;

    assert_eq!(second.next().await.name, "connected");
    assert_eq!(positions(&mut second, 449).await, (2..=450).collect::<Vec<_>>());
    ann.says(room, "live").await;
    assert_eq!(second.next().await.data["content"], "live");
    let mut by_query = bob.client.stream(&format!("{path}?last_event_id=449"), None).await;
    by_query.next().await;
    assert_eq!(positions(&mut by_query, 2).await, [450, 451]);
}

#[tokio::test]
async fn what_another_replica_writes_is_heard_with_kafka_and_without() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let other = app.replica().await;
    let mut stream = app.person_at(&other, bob.id).client.stream(&format!("/messages/stream/{room}"), None).await;
    stream.next().await;

    // The topics do not exist, so only the heads tell of it.
    for n in 1..=5 {
        ann.says(room, &n.to_string()).await;
    }
    assert_eq!(positions(&mut stream, 5).await, [1, 2, 3, 4, 5]);

    app.space.create_topics().await;
    for n in 6..=30 {
        ann.says(room, &n.to_string()).await;
    }
    assert_eq!(positions(&mut stream, 25).await, (6..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn edits_and_deletions_are_told_live_and_replayed_without_what_was_deleted() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/stream/{room}");
    let mut live = bob.client.stream(&path, None).await;
    live.next().await;
    let sent = ann.says(room, "secret").await;
    let message = format!("/messages/{}", sent["id"].as_str().unwrap());
    ann.client.put(&message, json!({"content": "more secret"})).await.expect(200);
    ann.client.delete(&message).await.expect(200);

    let names = ["new_message", "message_edited", "message_deleted"];
    for (position, name) in (1..).zip(names) {
        let event = live.next().await;
        assert_eq!((event.name.as_str(), event.id), (name, position.to_string()));
    }
    let mut replay = bob.client.stream(&path, Some("0")).await;
    replay.next().await;
    for name in names {
        let event = replay.next().await;
        assert_eq!(event.name, name);
        assert!(!event.data.to_string().contains("secret"), "{}", event.data);
    }
}

#[tokio::test]
async fn a_position_that_the_room_does_not_have_means_resync() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    ann.says(room, "1").await;
    let path = format!("/messages/stream/{room}");

    for unknown in ["99", "-1", "x"] {
        let mut stream = bob.client.stream(&path, Some(unknown)).await;
        let connected = stream.next().await;
        assert_eq!((connected.name.as_str(), stream.next().await.name.as_str()), ("connected", "resync"));
    }
}

#[tokio::test]
async fn an_idle_stream_is_kept_open_and_counted() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.two_in_a_room().await;
    let request = bob.client.request(reqwest::Method::GET, &format!("/messages/stream/{room}"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()["cache-control"], "no-cache");

    let mut text = String::new();
    while !text.contains("\n:") {
        text += &String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap());
    }

    assert!(text.starts_with("event: connected\n") && text.contains("retry: "), "{text}");
    let counted = r#"active_sse_connections{service="chat-service"} 1"#;
    let open = async || app.server.client("").get("/metrics").await.text.contains(counted);
    assert!(open().await);
    drop(response);
    eventually("the stream is counted out", || async { (!open().await).then_some(()) }).await;
}

#[tokio::test]
async fn streams_end_cleanly_when_the_service_does() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.two_in_a_room().await;
    let mut stream = bob.client.stream(&format!("/messages/stream/{room}"), None).await;
    stream.next().await;

    tokio::time::timeout(Duration::from_secs(5), app.server.stop()).await.unwrap();

    assert!(stream.try_next().await.is_none());
}
