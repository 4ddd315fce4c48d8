//! A scripted user-service over real HTTP, which can be made to misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The behaviour of the service.
#[derive(Clone, Copy, Debug, Default)]
pub enum Behaviour {
    #[default]
    Normal,
    Slow(Duration),
    Failing,
    InvalidBody,
}

/// A received call.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    pub token: String,
    pub request_id: Option<String>,
}

#[derive(Clone, Default)]
pub struct Users(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    url: String,
    behaviour: Behaviour,
    people: BTreeMap<i64, Value>,
    calls: Vec<Call>,
}

impl Users {
    pub async fn start() -> Self {
        let users = Self::default();
        let router = Router::new()
            .route("/api/users/batch", post(batch))
            .route("/api/users/search", get(search))
            .route("/api/users/{id}/exists", get(exists))
            .layer(from_fn_with_state(users.clone(), apply_behaviour))
            .with_state(users.clone());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        users.script(|script| script.url = format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        users
    }

    pub fn url(&self) -> String {
        self.script(|script| script.url.clone())
    }

    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.script(|script| script.behaviour = behaviour);
    }

    pub fn add(&self, id: i64, username: &str) {
        let person = json!({
            "id": id, "username": username, "display_name": format!("Display {username}"), "status_message": null,
            "profile_image_url": null, "is_online": false, "last_seen_at": "2026-11-24T13:09:10"
        });
        self.script(|script| script.people.insert(id, person));
    }

    /// Changes a field of a user's profile.
    pub fn change(&self, id: i64, field: &str, value: Value) {
        self.script(|script| script.people.get_mut(&id).unwrap()[field] = value);
    }

    /// The received calls whose path ends with a text.
    pub fn calls(&self, end: &str) -> Vec<Call> {
        self.script(|script| script.calls.iter().filter(|call| call.path.ends_with(end)).cloned().collect())
    }

    fn script<T>(&self, read: impl FnOnce(&mut Script) -> T) -> T {
        read(&mut self.0.lock().unwrap())
    }
}

async fn apply_behaviour(State(users): State<Users>, request: Request, next: Next) -> Response {
    let call = Call {
        path: request.uri().path().to_owned(),
        token: header(request.headers(), "authorization").unwrap_or_default().replace("Bearer ", ""),
        request_id: header(request.headers(), "x-request-id"),
    };
    users.script(|script| script.calls.push(call));
    match users.script(|script| script.behaviour) {
        Behaviour::Normal => next.run(request).await,
        Behaviour::Slow(time) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Behaviour::Failing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Behaviour::InvalidBody => "<html>nonsense</html>".into_response(),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

async fn batch(State(users): State<Users>, Json(body): Json<Value>) -> Response {
    let ids: Vec<i64> = serde_json::from_value(body["user_ids"].clone()).unwrap();
    if ids.is_empty() || ids.len() > 100 {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let found: Vec<_> = users.script(|script| ids.iter().filter_map(|id| script.people.get(id).cloned()).collect());
    Json(found).into_response()
}

async fn exists(State(users): State<Users>, Path(id): Path<i64>) -> Json<Value> {
    Json(json!({"user_id": id, "exists": users.script(|script| script.people.contains_key(&id))}))
}

async fn search(State(users): State<Users>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let (part, limit) = (query["query"].clone(), query["limit"].parse().unwrap());
    let matches = |person: &&Value| person["username"].as_str().unwrap().contains(&part);
    let found: Vec<_> = users.script(|script| script.people.values().filter(matches).take(limit).cloned().collect());
    Json(json!({"total_count": found.len(), "users": found}))
}
