//! The users of the end-to-end tests and their client of the gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

pub mod story;

use serde_json::{Value, json};
use testkit::Client;
use uuid::Uuid;

/// A password that the rules of the original (8 to 16 characters) and ours allow.
pub const PASSWORD: &str = "Test1234!@";

/// A user who has registered and logged in.
pub struct Person {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub client: Client,
}

/// A client of the running system without a token.
pub fn gateway() -> Client {
    let url = std::env::var("GATEWAY_URL");
    Client::new(&url.expect("GATEWAY_URL is not set: run the tests with `cargo stack test`"), "")
}

impl Person {
    /// Registers under a unique username that begins with `name`, and logs in.
    pub async fn sign_up(name: &str) -> Self {
        let gateway = gateway();
        let username = format!("{name}_{}", &Uuid::new_v4().simple().to_string()[..10]);
        let email = format!("{username}@example.com");
        let account =
            json!({"email": email, "username": username, "password": PASSWORD, "display_name": "테스트 유저"});
        let registered = gateway.post("/api/auth/register", account).await.expect(201);
        let login = json!({"email": email, "password": PASSWORD});
        let token = gateway.post("/api/auth/login/json", login).await.expect(200);
        let client = gateway.with_token(token["access_token"].as_str().unwrap());
        Self { id: registered["id"].as_i64().unwrap(), username, email, client }
    }

    /// Sends a friend request that the other user accepts.
    pub async fn befriend(&self, other: &Self) {
        self.client.post("/api/friends/request", json!({"user_id_2": other.id})).await.expect(201);
        let accept = json!({"action": "accept"});
        other.client.put(&format!("/api/friends/status/{}", self.id), accept).await.expect(200);
    }

    /// The id of the direct room with the other user.
    pub async fn room_with(&self, other: &Self) -> i64 {
        let room = self.client.get(&format!("/api/chat-rooms/check/{}", other.id)).await.expect(200);
        room["id"].as_i64().unwrap()
    }

    pub async fn send_message(&self, room: i64, content: &str) -> Value {
        self.client.post(&format!("/api/messages/{room}"), json!({"content": content})).await.expect(201)
    }
}
