//! What has been read.

use serde_json::{Value, json};

use crate::app::TestApp;

fn ids(messages: &[Value]) -> Vec<&Value> {
    messages.iter().map(|message| &message["id"]).collect()
}

#[tokio::test]
async fn unread_are_the_messages_of_others_until_they_are_read() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(ann.says(room, &n.to_string()).await);
    }
    assert_eq!((ann.unread(room).await, bob.unread(room).await), (0, 5));

    let read = json!({"room_id": room, "message_ids": ids(&sent[1..3])});
    let answer = bob.client.post("/messages/read", read.clone()).await.expect(200);
    assert_eq!(answer, json!({"success": true, "read_count": 2, "message": "2 messages marked as read"}));
    assert_eq!(bob.client.post("/messages/read", read).await.expect(200)["read_count"], 0);
    assert_eq!(bob.unread(room).await, 3);

    let path = format!("/messages/{}", sent[4]["id"].as_str().unwrap());
    ann.client.delete(&path).await.expect(200);
    assert_eq!(bob.unread(room).await, 2);
    assert_eq!(bob.client.post("/messages/read", json!({"room_id": room})).await.expect(200)["read_count"], 2);
    assert_eq!(bob.unread(room).await, 0);
    ann.says(room, "more").await;
    assert_eq!(bob.unread(room).await, 1);
}

#[tokio::test]
async fn only_messages_of_the_room_are_read_in_it() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let elsewhere = app.person(3).room_with(2).await;
    let foreign = app.person(3).says(elsewhere, "x").await;
    let sent = ann.says(room, "y").await;
    let read = async |ids: Value| bob.client.post("/messages/read", json!({"room_id": room, "message_ids": ids})).await;

    assert_eq!(read(json!([])).await.expect(400)["message"], "Message IDs cannot be empty");
    let mixed = read(json!([sent["id"], foreign["id"]])).await.expect(400);
    assert_eq!(mixed["message"], "All messages must be from the same room");
    assert_eq!(read(json!(["0123456789abcdef01234567", "unknown"])).await.expect(200)["read_count"], 0);
    read(json!("x")).await.expect(422);
    bob.client.post("/messages/read", json!({})).await.expect(422);
    assert_eq!(bob.unread(room).await, 1);
}
