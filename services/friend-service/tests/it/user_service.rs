//! A simulated user-service: it answers over HTTP, records its calls, and fails on request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Clone, Copy, Debug, Default)]
pub enum Behavior {
    #[default]
    Healthy,
    /// Every answer is late by this time.
    Slow(Duration),
    /// Every answer is 500.
    Failing,
    /// Every answer is 200 with a body that is not JSON.
    InvalidBody,
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    pub token: String,
    pub request_id: Option<String>,
}

#[derive(Clone, Default)]
pub struct UserService(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    url: String,
    behavior: Behavior,
    users: BTreeMap<i64, Value>,
    ignores_offset: bool,
    calls: Vec<Call>,
}

impl UserService {
    pub async fn start() -> Self {
        let service = Self::default();
        let router = Router::new()
            .route("/api/users/batch", post(batch))
            .route("/api/users/search", get(search))
            .route("/api/users/{id}/exists", get(exists))
            .layer(from_fn_with_state(service.clone(), record_and_behave))
            .with_state(service.clone());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        service.0.lock().url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        service
    }

    pub fn url(&self) -> String {
        self.0.lock().url.clone()
    }

    pub fn set_behavior(&self, behavior: Behavior) {
        self.0.lock().behavior = behavior;
    }

    pub fn add_user(&self, id: i64, username: &str) {
        let user = json!({
            "id": id, "username": username, "display_name": format!("Display {username}"), "status_message": null,
            "profile_image_url": null, "is_online": false, "last_seen_at": "2026-11-24T13:09:10"
        });
        self.0.lock().users.insert(id, user);
    }

    /// From now on a search returns its first page whatever the offset, as the original does.
    pub fn ignore_offset(&self) {
        self.0.lock().ignores_offset = true;
    }

    /// Sets a field of a user's profile.
    pub fn set_field(&self, id: i64, field: &str, value: Value) {
        self.0.lock().users.get_mut(&id).unwrap()[field] = value;
    }

    /// The calls so far whose path has this suffix.
    pub fn calls(&self, suffix: &str) -> Vec<Call> {
        self.0.lock().calls.iter().filter(|call| call.path.ends_with(suffix)).cloned().collect()
    }
}

async fn record_and_behave(State(service): State<UserService>, request: Request, next: Next) -> Response {
    let call = Call {
        path: request.uri().path().to_owned(),
        token: header(request.headers(), "authorization").unwrap_or_default().replace("Bearer ", ""),
        request_id: header(request.headers(), "x-request-id"),
    };
    let behavior = {
        let mut inner = service.0.lock();
        inner.calls.push(call);
        inner.behavior
    };
    match behavior {
        Behavior::Healthy => next.run(request).await,
        Behavior::Slow(time) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Behavior::Failing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Behavior::InvalidBody => "<html>nonsense</html>".into_response(),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

async fn batch(State(service): State<UserService>, Json(body): Json<Value>) -> Response {
    let ids: Vec<i64> = serde_json::from_value(body["user_ids"].clone()).unwrap();
    if ids.is_empty() || ids.len() > 100 {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let inner = service.0.lock();
    let found: Vec<_> = ids.iter().filter_map(|id| inner.users.get(id).cloned()).collect();
    Json(found).into_response()
}

async fn exists(State(service): State<UserService>, Path(id): Path<i64>) -> Json<Value> {
    Json(json!({"user_id": id, "exists": service.0.lock().users.contains_key(&id)}))
}

async fn search(State(service): State<UserService>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let inner = service.0.lock();
    let (part, limit) = (query["query"].clone(), query["limit"].parse().unwrap());
    let offset = query.get("offset").filter(|_| !inner.ignores_offset).map_or(0, |offset| offset.parse().unwrap());
    let matches = |user: &&Value| user["username"].as_str().unwrap().contains(&part);
    let found: Vec<_> = inner.users.values().filter(matches).cloned().collect();
    let page: Vec<_> = found.iter().skip(offset).take(limit).collect();
    Json(json!({"total_count": found.len(), "users": page}))
}
