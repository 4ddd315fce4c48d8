//! The other services, as far as chat-service calls them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// user-service knows the ids below this one.
pub const UNKNOWN_USER: i64 = 1_000_000;

/// Serves a router on a free port of loopback and returns its URL.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// Starts a user-service that answers 500 while it is not available.
pub async fn user_service(available: Arc<AtomicBool>) -> String {
    let router = Router::new()
        .route("/api/users/{id}/exists", get(exists))
        .route("/api/users/batch", post(batch))
        .with_state(available);
    serve(router).await
}

async fn exists(State(available): State<Arc<AtomicBool>>, Path(id): Path<i64>) -> Response {
    if !available.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({"user_id": id, "exists": id < UNKNOWN_USER})).into_response()
}

async fn batch(State(available): State<Arc<AtomicBool>>, Json(request): Json<Value>) -> Response {
    if !available.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let profile = |id: &Value| {
        json!({"id": id, "username": format!("person_{id}"), "display_name": null, "status_message": null,
            "profile_image_url": null, "is_online": false, "last_seen_at": null})
    };
    let ids = request["user_ids"].as_array().cloned().unwrap_or_default();
    let known = ids.iter().filter(|id| id.as_i64().is_some_and(|id| id < UNKNOWN_USER));
    Json(known.map(profile).collect::<Vec<_>>()).into_response()
}

/// The blocks of a friend-service: the blocking and the blocked user. Their ids are 1, 2, 3 …
pub type BlockList = Arc<Mutex<Vec<(i64, i64)>>>;

/// Starts a friend-service with two blocks on two pages: 6 blocks 7, and 8 blocks 9.
pub async fn friend_service() -> String {
    friend_service_with(Arc::new(Mutex::new(vec![(6, 7), (8, 9)]))).await
}

/// Starts a friend-service with these blocks, one on a page.
pub async fn friend_service_with(blocks: BlockList) -> String {
    serve(Router::new().route("/api/friends/blocks", get(self::blocks)).with_state(blocks)).await
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
