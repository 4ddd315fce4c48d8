//! The other services, as far as chat-service calls them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// user-service knows the ids below this one.
pub const UNKNOWN_USER: i64 = 1_000_000;

/// friend-service does not answer with the friends of this user.
pub const UNLISTED_USER: i64 = 30;

/// The state of a user-service.
pub struct Users {
    /// Whether it answers; else the answer is 500.
    pub available: AtomicBool,
    /// The users whom only friends can bring into a group.
    pub reserved: Mutex<HashSet<i64>>,
}

impl Default for Users {
    fn default() -> Self {
        Self { available: AtomicBool::new(true), reserved: Mutex::default() }
    }
}

/// Serves a router on a free port of loopback and returns its URL.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

pub async fn user_service(users: Arc<Users>) -> String {
    serve(user_routes(users)).await
}

pub fn user_routes(users: Arc<Users>) -> Router {
    Router::new().route("/api/users/{id}/exists", get(exists)).route("/api/users/batch", post(batch)).with_state(users)
}

async fn exists(State(users): State<Arc<Users>>, Path(id): Path<i64>) -> Response {
    if !users.available.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({"user_id": id, "exists": id < UNKNOWN_USER})).into_response()
}

async fn batch(State(users): State<Arc<Users>>, Json(request): Json<Value>) -> Response {
    if !users.available.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let reserved = users.reserved.lock().unwrap();
    let profile = |id: &Value| {
        json!({"id": id, "username": format!("person_{id}"), "display_name": null, "status_message": null,
            "profile_image_url": null, "is_online": false, "last_seen_at": null,
            "refuse_stranger_groups": id.as_i64().is_some_and(|id| reserved.contains(&id))})
    };
    let ids = request["user_ids"].as_array().cloned().unwrap_or_default();
    let known = ids.iter().filter(|id| id.as_i64().is_some_and(|id| id < UNKNOWN_USER));
    Json(known.map(profile).collect::<Vec<_>>()).into_response()
}

/// The blocks of a friend-service: the blocking and the blocked user. Their ids are 1, 2, 3 …
pub type BlockList = Arc<Mutex<Vec<(i64, i64)>>>;

/// Starts a friend-service with two blocks on two pages: 6 blocks 7, and 8 blocks 9.
pub async fn friend_service() -> String {
    serve(friend_routes(two_blocks())).await
}

pub fn two_blocks() -> BlockList {
    Arc::new(Mutex::new(vec![(6, 7), (8, 9)]))
}

/// Starts a friend-service with these blocks, one on a page.
pub async fn friend_service_with(blocks: BlockList) -> String {
    serve(friend_routes(blocks)).await
}

pub fn friend_routes(blocks: BlockList) -> Router {
    let router = Router::new().route("/api/friends/blocks", get(self::blocks)).route("/api/friends/list", get(friends));
    router.with_state(blocks)
}

/// The friends of user 1 are 20 and 21, on two pages. The other users have none.
async fn friends(Query(query): Query<HashMap<String, i64>>, headers: HeaderMap) -> Response {
    let claims = headers["authorization"].to_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let friend = |id: i64| json!([{"user_id": id, "email": ""}]);
    let user: i64 = claims["sub"].as_str().unwrap().parse().unwrap();
    match (user, query["cursor"]) {
        (UNLISTED_USER, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        (1, 0) => ([("x-next-cursor", "7")], Json(friend(20))).into_response(),
        (1, 7) => Json(friend(21)).into_response(),
        _ => Json(json!([])).into_response(),
    }
}

async fn blocks(
    State(blocks): State<BlockList>,
    Query(query): Query<HashMap<String, i64>>,
    headers: HeaderMap,
) -> Response {
    if !headers.contains_key("authorization") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (since, blocks) = (query["since_id"], blocks.lock().unwrap());
    let page = blocks
        .get(since as usize)
        .map(|(user, blocked)| json!({"id": since + 1, "user_id": user, "blocked_user_id": blocked}));
    let next = (blocks.len() as i64 > since + 1).then_some(since + 1);
    Json(json!({"blocks": page.as_slice(), "next_since_id": next})).into_response()
}
