//! Continuous activity of users, so that every series has samples.

use std::time::Duration;

use e2e::Person;
use serde_json::json;
use tokio::task::JoinHandle;

/// Starts the activity, which lasts until it is aborted.
pub fn start() -> JoinHandle<()> {
    tokio::spawn(async {
        let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
        ann.befriend(&bob).await;
        let room = ann.room_with(&bob).await;
        let mut stream = bob.client.stream(&format!("/api/messages/stream/{room}"), None).await;
        tokio::spawn(async move {
            loop {
                stream.next().await;
            }
        });
        for round in 0_u64.. {
            ann.send_message(room, "안녕").await;
            bob.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
            for path in ["/api/chat-rooms", "/api/friends/list", "/api/profile/me"] {
                bob.client.get(path).await.expect(200);
            }
            ann.client.get(&format!("/api/users/search?query={}", bob.username)).await.expect(200);
            // The rate limits for registrations and logins of one address allow no shorter interval.
            if round % 20 == 0 {
                reject_a_request_of(&ann).await;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    })
}

/// A new user rejects a friend request of `ann`.
async fn reject_a_request_of(ann: &Person) {
    let eve = Person::sign_up("eve").await;
    ann.client.post("/api/friends/request", json!({"user_id_2": eve.id})).await.expect(201);
    eve.client.put(&format!("/api/friends/status/{}", ann.id), json!({"action": "reject"})).await;
    ann.room_with(&eve).await;
}
