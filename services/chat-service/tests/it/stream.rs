//! The stream of a room: every event once and in order, across reconnections and replicas.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;
use testkit::{Sse, eventually};

use crate::app::TestApp;
use crate::person::message_path;

/// The positions of the next `n` events.
async fn positions(stream: &mut Sse, n: usize) -> Vec<i64> {
    let mut positions = Vec::new();
    while positions.len() < n {
        positions.push(stream.next().await.position());
    }
    positions
}

#[tokio::test]
async fn a_stream_begins_with_connected_and_continues_with_new_messages() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "before").await;

    let mut stream = bob.client.stream(&format!("/api/messages/stream/{room}"), None).await;

    let connected = stream.next().await;
    assert_eq!((connected.name.as_str(), connected.position()), ("connected", 1));
    assert_eq!(connected.data, json!({"message": format!("Connected to room {room}"), "room_id": room, "user_id": 2}));
    let sent = ann.sends(room, "now").await;
    let received = stream.next().await;
    assert_eq!((received.name.as_str(), received.position()), ("new_message", 2));
    let expected = json!({"id": sent["id"], "user_id": 1, "username": "person_1", "room_id": room, "content": "now",
        "message_type": "text", "created_at": sent["created_at"], "is_deleted": false, "seq": 2,
        "client_message_id": null, "reply_to": null, "file_url": null, "file_name": null, "file_size": null, "file_type": null,
        "file_state": null, "image": null});
    assert_eq!(received.data, expected);
}

#[tokio::test]
async fn two_streams_of_one_user_both_receive_every_message() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut streams = join_all([bob.subscribes(room, None), bob.subscribes(room, None)]).await;

    join_all((0..40).map(|_| ann.sends(room, "x"))).await;

    for stream in &mut streams {
        assert_eq!(positions(stream, 40).await, (1..=40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_reconnected_stream_receives_the_missed_messages_once_and_in_order() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut first = bob.subscribes(room, None).await;
    ann.sends(room, "1").await;
    let last_event_id = first.next().await.id;
    drop(first);
    for n in 2..=450 {
        ann.sends(room, &n.to_string()).await;
    }

    let mut second = bob.subscribes(room, Some(&last_event_id)).await;

    assert_eq!(positions(&mut second, 449).await, (2..=450).collect::<Vec<_>>());
    ann.sends(room, "live").await;
    assert_eq!(second.next().await.data["content"], "live");
    let mut by_query = bob.client.stream(&format!("/messages/stream/{room}?last_event_id=449"), None).await;
    by_query.next().await;
    assert_eq!(positions(&mut by_query, 2).await, [450, 451]);
}

#[tokio::test]
async fn messages_of_another_replica_arrive_with_and_without_kafka() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let mut own = bob.subscribes(room, None).await;
    let mut stream = app.person_at(&replica, bob.id).subscribes(room, None).await;

    // The topics do not exist, so the replica finds the messages by the positions of the rooms.
    for n in 1..=5 {
        ann.sends(room, &n.to_string()).await;
    }
    assert_same_events(&mut own, &mut stream, 1..=5).await;

    app.space.create_topics().await;
    for n in 6..=30 {
        ann.sends(room, &n.to_string()).await;
    }
    assert_same_events(&mut own, &mut stream, 6..=30).await;
}

/// The streams of two replicas have the same ids and data.
async fn assert_same_events(own: &mut Sse, other: &mut Sse, positions: RangeInclusive<i64>) {
    for position in positions {
        let (own, other) = (own.next().await, other.next().await);
        assert_eq!((own.position(), &own.data), (position, &other.data));
        assert_eq!(own.id, other.id);
    }
}

#[tokio::test]
async fn edits_and_deletions_arrive_live_and_a_replay_omits_deleted_content() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut live = bob.subscribes(room, None).await;
    let path = message_path(&ann.sends(room, "secret").await);
    ann.client.put(&path, json!({"content": "more secret"})).await.expect(200);
    ann.client.delete(&path).await.expect(200);

    let names = ["new_message", "message_edited", "message_deleted"];
    for (position, name) in (1..).zip(names) {
        let event = live.next().await;
        assert_eq!((event.name.as_str(), event.position()), (name, position));
    }
    let mut replay = bob.subscribes(room, Some("0")).await;
    for name in names {
        let event = replay.next().await;
        assert_eq!(event.name, name);
        assert!(!event.data.to_string().contains("secret"), "{}", event.data);
    }
}

#[tokio::test]
async fn an_unknown_position_leads_to_resync() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "1").await;

    for unknown in ["99", "-1", "x"] {
        let mut stream = bob.subscribes(room, Some(unknown)).await;
        assert_eq!(stream.next().await.name, "resync");
    }
}

#[tokio::test]
async fn an_idle_stream_is_kept_open_and_counted() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;
    let request = bob.client.request(Method::GET, &format!("/messages/stream/{room}"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()["cache-control"], "no-cache");

    let mut text = String::new();
    while !text.contains("\n:") {
        text += &String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap());
    }

    assert!(text.starts_with("event: connected\n") && text.contains("retry: "), "{text}");
    let counted = r#"active_sse_connections{service="chat-service"} 1"#;
    let is_counted = async || app.anonymous().get("/metrics").await.text.contains(counted);
    assert!(is_counted().await);
    drop(response);
    eventually("the stream is no longer counted", || async { (!is_counted().await).then_some(()) }).await;
}

#[tokio::test]
async fn streams_end_cleanly_when_the_service_stops() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;
    let mut stream = bob.client.request(Method::GET, &format!("/messages/stream/{room}")).send().await.unwrap();

    tokio::time::timeout(Duration::from_secs(5), app.server.stop()).await.unwrap();

    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.expect("the answer is whole") {
        text += &String::from_utf8_lossy(&chunk);
    }
    assert!(text.ends_with(": closing\n\n"), "{text}");
}

#[tokio::test]
async fn a_stream_ends_at_its_greatest_age_and_is_resumed() {
    let app = TestApp::start_with(&[("STREAM_MAX_AGE_SECONDS", "1".to_owned())]).await;
    let (ann, bob, room) = app.direct_room().await;

    for path in [format!("/messages/stream/{room}"), "/messages/stream".to_owned()] {
        let mut stream = bob.client.stream(&path, None).await;
        let id = stream.next_named("connected").await.id;
        while stream.try_next().await.is_some() {}

        let missed = ann.sends(room, "between two streams").await;
        let mut resumed = bob.client.stream(&path, Some(&id)).await;
        assert_eq!(resumed.next_named("new_message").await.data["id"], missed["id"], "{path}");
    }
}

#[tokio::test]
async fn a_client_that_is_cut_off_before_resync_receives_it_when_it_comes_back() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "the client has not seen this").await;

    for path in [format!("/messages/stream/{room}"), "/messages/stream".to_owned()] {
        let mut last_id = "not-an-id".to_owned();
        for _ in 0..2 {
            let mut stream = bob.client.stream(&path, Some(&last_id)).await;
            let connected = stream.next_named("connected").await;
            if !connected.id.is_empty() {
                last_id = connected.id;
            }
        }
        let mut stream = bob.client.stream(&path, Some(&last_id)).await;
        let resync = stream.next_named("resync").await;
        let again = bob.client.stream(&path, Some(&resync.id)).await.next_named("connected").await;
        assert_eq!(again.id, resync.id, "the stream goes on at the id of `resync`");
    }
}

#[tokio::test]
async fn a_polyfill_resumes_by_its_own_query_parameter() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    for content in ["1", "2", "3"] {
        ann.sends(room, content).await;
    }

    for path in [format!("/messages/stream/{room}?lastEventId=1"), format!("/messages/stream/{room}?last_event_id=1")] {
        let mut stream = bob.client.stream(&path, None).await;
        assert_eq!(stream.next().await.name, "connected");
        assert_eq!(positions(&mut stream, 2).await, [2, 3], "{path}");
    }
}

#[tokio::test]
async fn an_unreadable_id_means_resync() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;

    for path in [format!("/messages/stream/{room}"), "/messages/stream".to_owned()] {
        for id in [&b"\xff\xfe"[..], "위치".as_bytes(), b""] {
            let request = bob.client.request(Method::GET, &path);
            let request = request.header("last-event-id", HeaderValue::from_bytes(id).unwrap());
            let mut stream = Sse::new(request.send().await.unwrap());
            assert_eq!(stream.next().await.name, "connected");
            assert_eq!(stream.next().await.name, "resync", "{path} {id:?}");
        }
        for query in ["lastEventId=%FF%FE", "lastEventId=", "last_event_id=%EC%9C%84"] {
            let mut stream = bob.client.stream(&format!("{path}?{query}"), None).await;
            assert_eq!(stream.next().await.name, "connected");
            assert_eq!(stream.next().await.name, "resync", "{path} {query}");
        }
    }
}

#[tokio::test]
async fn streams_leave_connections_to_health_checks_and_networks_have_a_share() {
    let app = TestApp::start_with(&[("HTTP_MAX_CONNECTIONS", "15".into()), ("STREAMS_PER_NETWORK", "0".into())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let path = format!("/messages/stream/{room}");
    let mut open = Vec::new();
    for n in 0..12 {
        let client = if n % 2 == 0 { &ann.client } else { &bob.client };
        open.push(client.stream(&path, None).await);
    }

    let refused = ann.client.get(&path).await;
    assert_eq!(refused.expect(503)["error"], "service_unavailable");
    app.anonymous().get("/health").await.expect(200);
    drop(open);
    eventually("another stream opens", || async {
        (ann.client.request(Method::GET, &path).send().await.unwrap().status() == 200).then_some(())
    })
    .await;

    let shared = TestApp::start_with(&[("STREAMS_PER_NETWORK", "2".into())]).await;
    let (ann, bob, room) = shared.direct_room().await;
    let path = format!("/messages/stream/{room}");
    let _open = (ann.client.stream(&path, None).await, bob.client.stream(&path, None).await);
    let refused = bob.client.get("/messages/stream").await;
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["error"], "rate_limit_exceeded");
}
