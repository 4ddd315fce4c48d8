//! A user of the service, and the requests that most tests send.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Client, Event, PATIENCE, Sse};

#[derive(Clone)]
pub struct Person {
    pub id: i64,
    pub client: Client,
}

impl Person {
    /// The direct room with another user, which is created if it does not exist.
    pub async fn room_with(&self, other: i64) -> i64 {
        let room = self.client.get(&format!("/chat-rooms/check/{other}")).await.expect(200);
        room["id"].as_i64().unwrap()
    }

    /// A new group with these users.
    pub async fn group_with(&self, others: &[i64]) -> i64 {
        let body = json!({"name": "우리", "participant_ids": others});
        self.client.post("/chat-rooms", body).await.expect(201)["id"].as_i64().unwrap()
    }

    /// The rooms of the user, the last active one first.
    pub async fn rooms(&self) -> Vec<Value> {
        array(self.client.get("/chat-rooms?limit=100").await.expect(200))
    }

    pub async fn adds(&self, group: i64, users: &[i64]) -> Answer {
        self.client.post(&format!("/chat-rooms/{group}/members"), json!({"user_ids": users})).await
    }

    pub async fn removes(&self, group: i64, user: i64) -> Answer {
        self.client.delete(&format!("/chat-rooms/{group}/members/{user}")).await
    }

    /// Sends a message and returns it.
    pub async fn sends(&self, room: i64, content: &str) -> Value {
        self.tries_to_send(room, content).await.expect(201)
    }

    pub async fn tries_to_send(&self, room: i64, content: &str) -> Answer {
        self.client.post(&format!("/messages/{room}"), json!({"content": content})).await
    }

    /// The newest hundred messages of a room, the oldest first.
    pub async fn messages(&self, room: i64) -> Vec<Value> {
        array(self.client.get(&format!("/messages/{room}?limit=100")).await.expect(200)["messages"].take())
    }

    /// Marks the whole room as read.
    pub async fn reads_all(&self, room: i64) -> Value {
        self.client.post("/messages/read", json!({"room_id": room})).await.expect(200)
    }

    /// Marks these messages as read.
    pub async fn reads(&self, room: i64, messages: &[Value]) -> Value {
        let body = json!({"room_id": room, "message_ids": pluck(messages, "id")});
        self.client.post("/messages/read", body).await.expect(200)
    }

    pub async fn unread(&self, room: i64) -> i64 {
        let answer = self.client.get(&format!("/messages/room/{room}/unread-count")).await.expect(200);
        answer["unread_count"].as_i64().unwrap()
    }

    /// Opens the stream of a room and consumes its first event, `connected`.
    pub async fn subscribes(&self, room: i64, last_event_id: Option<&str>) -> Sse {
        let mut stream = self.client.stream(&format!("/messages/stream/{room}"), last_event_id).await;
        assert_eq!(stream.next().await.name, "connected");
        stream
    }
}

fn array(value: Value) -> Vec<Value> {
    let Value::Array(values) = value else { panic!("{value} is no array") };
    values
}

/// The value of a field in each of these objects.
pub fn pluck(objects: &[Value], field: &str) -> Vec<Value> {
    objects.iter().map(|object| object[field].clone()).collect()
}

/// The path of a message.
pub fn message_path(message: &Value) -> String {
    format!("/messages/{}", message["id"].as_str().unwrap())
}

/// All messages of a room, the oldest first, and the last page of the listing.
pub async fn all_messages(client: &Client, room: i64) -> (Vec<Value>, Value) {
    let mut messages = Vec::new();
    loop {
        let path = format!("/messages/{room}?limit=100&skip={}", messages.len());
        let mut page = client.get(&path).await.expect(200);
        messages.splice(0..0, array(page["messages"].take()));
        if page["has_more"] == false {
            return (messages, page);
        }
    }
}

/// The whole log of a room, as its stream replays it. The log has no gap: the entries have the positions 1, 2, 3 …
pub async fn read_log(client: &Client, room: i64) -> Vec<Event> {
    let page = client.get(&format!("/messages/{room}?limit=1")).await.expect(200);
    let mut stream = client.stream(&format!("/messages/stream/{room}"), Some("0")).await;
    assert_eq!(stream.next().await.name, "connected");
    let mut log = Vec::new();
    for position in 1..=page["position"].as_i64().unwrap() {
        let event = stream.next().await;
        assert_eq!(event.position(), position, "the log has a gap");
        log.push(event);
    }
    log
}

/// Repeats `action` until the stream has an event that `accept` accepts, and returns it.
///
/// A replica misses live events of the time before its subscription to Redis or Kafka.
pub async fn repeat_until(stream: &mut Sse, action: impl AsyncFn(), mut accept: impl FnMut(&Event) -> bool) -> Event {
    const PAUSE: Duration = Duration::from_millis(500);
    let repeated = async {
        loop {
            action().await;
            while let Some(event) = stream.next_within(PAUSE).await {
                if accept(&event) {
                    return event;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, repeated).await.expect("no accepted event came")
}
