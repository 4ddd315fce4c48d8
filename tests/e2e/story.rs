//! The story of two users through the gateway, from their registration to the messages that they read.

use serde_json::{Value, json};

use crate::Person;

/// Panics where the story goes another way.
pub async fn two_users_become_friends_and_chat() {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);

    let found = ann.client.get(&format!("/api/users/search?query={}", bob.username)).await.expect(200);
    assert_eq!(names(&found["users"], "username"), [bob.username.as_str()]);
    ann.client.post("/api/friends/request", json!({"user_id_2": bob.id, "message": "안녕"})).await.expect(201);
    let pending = bob.client.get("/api/friends/requests").await.expect(200);
    assert_eq!(pending["received_requests"][0]["user_id"], ann.id);
    assert_eq!(pending["received_requests"][0]["username"], ann.username.as_str());
    bob.client.put(&format!("/api/friends/status/{}", ann.id), json!({"action": "accept"})).await.expect(200);
    for (person, friend) in [(&ann, &bob), (&bob, &ann)] {
        let friends = person.client.get("/api/friends/list").await.expect(200);
        assert_eq!(names(&friends, "username"), [friend.username.as_str()]);
    }

    let room = ann.room_with(&bob).await;
    assert_eq!(bob.room_with(&ann).await, room);
    let mut stream = bob.client.stream(&format!("/api/messages/stream/{room}"), None).await;
    assert_eq!(stream.next().await.name, "connected");
    let texts = ["안녕하세요! 👋🏽", "<b>plain</b> \"text\"", "줄\n바꿈", "👨‍👩‍👧‍👦"];
    for text in texts {
        ann.send_message(room, text).await;
    }
    for (position, text) in (1..).zip(texts) {
        let event = stream.next().await;
        assert_eq!((event.name.as_str(), &event.data["content"]), ("new_message", &json!(text)));
        assert_eq!((event.position(), &event.data["username"]), (position, &json!(ann.username)));
    }

    let rooms = bob.client.get("/api/chat-rooms").await.expect(200);
    assert_eq!((&rooms[0]["unread_count"], &rooms[0]["last_message"]["content"]), (&json!(4), &json!(texts[3])));
    assert_eq!(names(&rooms[0]["participants"], "username"), [bob.username.as_str(), ann.username.as_str()]);
    bob.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
    let unread = bob.client.get(&format!("/api/messages/room/{room}/unread-count")).await.expect(200);
    assert_eq!(unread, json!({"unread_count": 0}));
    let page = bob.client.get(&format!("/api/messages/{room}?limit=2")).await.expect(200);
    assert_eq!((&page["messages"][1]["content"], &page["total_count"]), (&json!(texts[3]), &json!(4)));
}

fn names(people: &Value, field: &str) -> Vec<String> {
    people.as_array().unwrap().iter().map(|person| person[field].as_str().unwrap().to_owned()).collect()
}
