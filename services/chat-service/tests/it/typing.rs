//! Who is writing: live only.

use std::time::Duration;

use serde_json::json;
use testkit::eventually;

use crate::app::TestApp;

#[tokio::test]
async fn typing_is_told_on_both_kinds_of_stream_on_every_replica_and_kept_nowhere() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let replica = app.replica().await;
    let bob_elsewhere = app.person_at(&replica, bob.id);
    let path = format!("/messages/stream/{room}");
    let mut streams = [
        bob.client.stream(&path, None).await,
        bob_elsewhere.client.stream(&path, None).await,
        bob_elsewhere.client.stream("/messages/stream", None).await,
    ];
    let mut places = Vec::new();
    for stream in &mut streams {
        let connected = stream.next().await;
        assert_eq!(connected.name, "connected");
        places.push(connected.id);
    }
    let typing = format!("/messages/{room}/typing");

    for (stream, place) in streams.iter_mut().zip(places) {
        // A replica that does not listen to Redis yet misses it.
        let told = loop {
            ann.client.post(&typing, json!({})).await;
            if let Some(told) = stream.next_within(Duration::from_millis(1_200)).await {
                break told;
            }
        };
        assert_eq!((told.name.as_str(), &told.id), ("typing", &place), "it has no place of its own");
        assert_eq!(told.data, json!({"room_id": room, "user_id": 1, "username": "person_1"}));
    }
    assert!(ann.messages(room).await.is_empty());
    assert_eq!(ann.says(room, "done").await["seq"], 1, "it takes no position");
}

#[tokio::test]
async fn typing_is_told_once_in_a_second_and_only_by_members() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/{room}/typing");

    ann.client.post(&path, json!({})).await.expect(202);
    let again = ann.client.post(&path, json!({})).await;
    assert_eq!(again.header("retry-after"), Some("1"));
    assert_eq!(again.expect(429)["error"], "rate_limit_exceeded");
    bob.client.post(&path, json!({})).await.expect(202);
    app.person(3).client.post(&path, json!({})).await.expect(403);
    ann.client.post("/messages/999999/typing", json!({})).await.expect(404);
    ann.client.post("/messages/x/typing", json!({})).await.expect(422);
    eventually("a second is over", || async { (ann.client.post(&path, json!({})).await.status == 202).then_some(()) })
        .await;
}
