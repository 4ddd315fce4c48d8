//! Typing notifications: sent to open streams only.

use serde_json::json;
use testkit::eventually;

use crate::app::TestApp;
use crate::person::repeat_until;

#[tokio::test]
async fn typing_reaches_both_kinds_of_stream_on_every_replica_and_is_not_stored() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, bob.id);
    let path = format!("/messages/stream/{room}");
    let typing = format!("/messages/{room}/typing");
    let mut streams = [
        bob.client.stream(&path, None).await,
        bob_at_replica.client.stream(&path, None).await,
        bob_at_replica.client.stream("/messages/stream", None).await,
    ];
    let mut cursors = Vec::new();
    for stream in &mut streams {
        let connected = stream.next().await;
        assert_eq!(connected.name, "connected");
        cursors.push(connected.id);
    }

    for (stream, cursor) in streams.iter_mut().zip(cursors) {
        let notify = async || drop(ann.client.post(&typing, json!({})).await);
        let event = repeat_until(stream, notify, |_| true).await;
        assert_eq!((event.name.as_str(), event.id), ("typing", cursor), "the event leaves the cursor where it is");
        assert_eq!(event.data, json!({"room_id": room, "user_id": 1, "username": "person_1"}));
    }
    assert!(ann.messages(room).await.is_empty());
    assert_eq!(ann.sends(room, "done").await["seq"], 1, "typing takes no position");
}

#[tokio::test]
async fn a_member_notifies_once_a_second() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let path = format!("/messages/{room}/typing");

    ann.client.post(&path, json!({})).await.expect(202);
    let repeated = ann.client.post(&path, json!({})).await;
    assert_eq!(repeated.header("retry-after"), Some("1"));
    assert_eq!(repeated.expect(429)["error"], "rate_limit_exceeded");
    bob.client.post(&path, json!({})).await.expect(202);
    app.person(3).client.post(&path, json!({})).await.expect(403);
    ann.client.post("/messages/999999/typing", json!({})).await.expect(404);
    ann.client.post("/messages/x/typing", json!({})).await.expect(422);
    eventually("the next notification is accepted", || async {
        (ann.client.post(&path, json!({})).await.status == 202).then_some(())
    })
    .await;
}
