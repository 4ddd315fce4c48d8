//! A chat-service of one test's own, and the user-service that it asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chat_service::{Config, SERVICE};
use common::config::Env;
use serde_json::{Value, json};
use testkit::{Answer, Client, Server, Space};
use tokio::net::TcpListener;

/// People with smaller ids exist.
pub const NOBODY: i64 = 1_000_000;

pub struct TestApp {
    pub space: Space,
    env: Vec<(&'static str, String)>,
    pub server: Server,
    people: Arc<AtomicBool>,
}

/// Someone, and what they see.
#[derive(Clone)]
pub struct Person {
    pub id: i64,
    pub client: Client,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more in its environment, or something else.
    pub async fn start_with(more: &[(&'static str, String)]) -> Self {
        let space = Space::new();
        let mysql_url = space.schema("chat").await;
        Self::start_in(space, &mysql_url, more).await
    }

    /// Over stores that hold something already.
    pub async fn start_in(space: Space, mysql_url: &str, more: &[(&'static str, String)]) -> Self {
        let people = Arc::new(AtomicBool::new(true));
        let mut env = space.env(mysql_url);
        env.push(("USER_SERVICE_URL", user_service(people.clone()).await));
        env.push(("FRIEND_SERVICE_URL", friend_service().await));
        env.push(("SSE_KEEPALIVE_SECONDS", "1".to_owned()));
        env.push(("HTTP_TIMEOUT", "1".to_owned()));
        env.extend_from_slice(more);
        let server = replica(&space, &env).await;
        Self { space, env, server, people }
    }

    /// Another replica over the same stores.
    pub async fn replica(&self) -> Server {
        replica(&self.space, &self.env).await
    }

    /// user-service answers no more.
    pub fn hide_people(&self) {
        self.people.store(false, Ordering::Relaxed);
    }

    pub fn person(&self, id: i64) -> Person {
        self.person_at(&self.server, id)
    }

    pub fn person_at(&self, server: &Server, id: i64) -> Person {
        let token = self.space.token(id, &format!("person_{id}"));
        Person { id, client: server.client(&token) }
    }

    /// Two people and their room.
    pub async fn two_in_a_room(&self) -> (Person, Person, i64) {
        let (ann, bob) = (self.person(1), self.person(2));
        let room = ann.room_with(bob.id).await;
        (ann, bob, room)
    }
}

async fn replica(space: &Space, env: &[(&'static str, String)]) -> Server {
    let config = Config::read(&Env::of(env.iter().cloned())).unwrap();
    let platform = space.platform(SERVICE, env.to_vec());
    let app = chat_service::app(platform.clone(), config).await.unwrap();
    Server::start(platform, app).await
}

impl Person {
    /// The direct room with someone.
    pub async fn room_with(&self, other: i64) -> i64 {
        let room = self.client.get(&format!("/chat-rooms/check/{other}")).await.expect(200);
        room["id"].as_i64().unwrap()
    }

    /// A new group with these.
    pub async fn group_with(&self, others: &[i64]) -> i64 {
        let new = json!({"name": "우리", "participant_ids": others});
        self.client.post("/chat-rooms", new).await.expect(201)["id"].as_i64().unwrap()
    }

    pub async fn adds(&self, group: i64, users: &[i64]) -> Answer {
        self.client.post(&format!("/chat-rooms/{group}/members"), json!({"user_ids": users})).await
    }

    pub async fn removes(&self, group: i64, user: i64) -> Answer {
        self.client.delete(&format!("/chat-rooms/{group}/members/{user}")).await
    }

    pub async fn says(&self, room: i64, content: &str) -> Value {
        self.client.post(&format!("/messages/{room}"), json!({"content": content})).await.expect(201)
    }

    /// All messages of a room, oldest first.
    pub async fn messages(&self, room: i64) -> Vec<Value> {
        let page = self.client.get(&format!("/messages/{room}?limit=100")).await.expect(200);
        page["messages"].as_array().unwrap().clone()
    }

    pub async fn unread(&self, room: i64) -> i64 {
        let answer = self.client.get(&format!("/messages/room/{room}/unread-count")).await.expect(200);
        answer["unread_count"].as_i64().unwrap()
    }
}

/// What chat-service asks of user-service, played over HTTP.
pub async fn user_service(there: Arc<AtomicBool>) -> String {
    let app = Router::new()
        .route("/api/users/{id}/exists", get(exists))
        .route("/api/users/batch", post(batch))
        .with_state(there);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn exists(State(there): State<Arc<AtomicBool>>, Path(id): Path<i64>) -> Response {
    if !there.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({"user_id": id, "exists": id < NOBODY})).into_response()
}

async fn batch(State(there): State<Arc<AtomicBool>>, Json(asked): Json<Value>) -> Response {
    if !there.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let profile = |id: &Value| {
        json!({"id": id, "username": format!("person_{id}"), "display_name": null, "status_message": null,
            "profile_image_url": null, "is_online": false, "last_seen_at": null})
    };
    let ids = asked["user_ids"].as_array().cloned().unwrap_or_default();
    Json(ids.iter().filter(|id| id.as_i64().is_some_and(|id| id < NOBODY)).map(profile).collect::<Vec<_>>())
        .into_response()
}

/// What chat-service asks of friend-service: 8 has blocked 9, in a part of its own.
pub async fn friend_service() -> String {
    let app = Router::new().route("/api/friends/blocks", get(blocks));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn blocks(Query(asked): Query<HashMap<String, i64>>, headers: HeaderMap) -> Response {
    if !headers.contains_key("authorization") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let part = match asked["since_id"] {
        0 => json!({"blocks": [{"id": 1, "user_id": 6, "blocked_user_id": 7}], "next_since_id": 1}),
        _ => json!({"blocks": [{"id": 2, "user_id": 8, "blocked_user_id": 9}], "next_since_id": null}),
    };
    Json(part).into_response()
}
