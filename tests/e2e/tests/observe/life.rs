//! People who do a little of everything, so that there is something to see.

use std::time::Duration;

use e2e::Person;
use serde_json::json;
use tokio::task::JoinHandle;

/// Lives until it is aborted.
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
            ann.says(room, "안녕").await;
            bob.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
            for path in ["/api/chat-rooms", "/api/friends/list", "/api/profile/me"] {
                bob.client.get(path).await.expect(200);
            }
            ann.client.get(&format!("/api/users/search?query={}", bob.username)).await.expect(200);
            // As often as the limits on sign-ups and logins of one address let it.
            if round % 20 == 0 {
                meet_and_part(&ann).await;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    })
}

/// Someone new is asked and declines.
async fn meet_and_part(ann: &Person) {
    let eve = Person::sign_up("eve").await;
    ann.client.post("/api/friends/request", json!({"user_id_2": eve.id})).await.expect(201);
    eve.client.put(&format!("/api/friends/status/{}", ann.id), json!({"action": "reject"})).await;
    ann.room_with(&eve).await;
}
