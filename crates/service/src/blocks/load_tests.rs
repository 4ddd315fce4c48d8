//! The load of blocks from a friend-service whose blocks and answers change.

use std::collections::BTreeMap;

use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::jwt::ServiceTokens;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// A friend-service with these blocks by their ids, or one that answers every request with a status.
type FriendService = Arc<Mutex<Result<BTreeMap<i64, Pair>, StatusCode>>>;

async fn page(Shared(service): Shared<FriendService>, Query(query): Query<HashMap<String, i64>>) -> Response {
    match &*service.lock() {
        Err(status) => status.into_response(),
        Ok(blocks) => {
            let after = blocks.range(query["since_id"] + 1..);
            let block = |(id, (by, other)): (&i64, &Pair)| json!({"id": id, "user_id": by, "blocked_user_id": other});
            Json(json!({"blocks": after.map(block).collect::<Vec<_>>(), "next_since_id": null})).into_response()
        }
    }
}

/// The blocks of a service that loads them from `friends`, and the sender that tells it that it follows the events.
async fn load_from(friends: &FriendService, load_interval: Duration) -> (Blocks, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/blocks", listener.local_addr().unwrap());
    let router = Router::new().route("/blocks", get(page)).with_state(friends.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let blocks = Blocks::register(&Metrics::new("service", "0").unwrap()).unwrap();
    let tokens = ServiceTokens::new(&"a-secret-that-only-this-test-knows-012345".into(), "service");
    let (follows, followed) = oneshot::channel();
    let source = BlockSource::at(url, Some(tokens), load_interval);
    tokio::spawn(blocks.clone().load(source, async { drop(followed.await) }));
    (blocks, follows)
}

/// Waits until the condition holds, which takes the service less than this time.
async fn within(limit: Duration, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limit, waited).await.expect("the condition holds in time");
}

/// An interval of the whole loads that no test waits for.
const NEVER: Duration = Duration::from_secs(3_600);

/// Three times the 2 s in which a block counts without an event.
const SOON: Duration = Duration::from_secs(6);

#[tokio::test]
async fn the_end_of_a_block_before_the_first_event_is_found() {
    let friends = FriendService::new(Mutex::new(Ok(BTreeMap::from([(1, (ANN, BOB))]))));
    let (blocks, follows) = load_from(&friends, NEVER).await;
    within(SOON, || blocks.has(ANN, BOB)).await;

    *friends.lock() = Ok(BTreeMap::new());
    follows.send(()).unwrap();

    within(SOON, || !blocks.has(ANN, BOB)).await;
}

#[tokio::test]
async fn a_block_that_becomes_visible_after_one_with_a_higher_id_is_found() {
    let friends = FriendService::new(Mutex::new(Ok(BTreeMap::from([(4, (UserId(4), BOB))]))));
    let (blocks, follows) = load_from(&friends, NEVER).await;
    within(SOON, || blocks.has(UserId(4), BOB)).await;
    friends.lock().as_mut().unwrap().insert(6, (UserId(6), BOB));
    follows.send(()).unwrap();
    within(SOON, || blocks.has(UserId(6), BOB)).await;

    // Its transaction took longer than that of the block after it.
    friends.lock().as_mut().unwrap().insert(5, (UserId(5), BOB));

    within(SOON, || blocks.has(UserId(5), BOB)).await;
}

#[tokio::test]
async fn a_refusal_is_repeated_and_only_an_absent_endpoint_means_no_blocks() {
    let friends = FriendService::new(Mutex::new(Err(StatusCode::FORBIDDEN)));
    let (blocks, _follows) = load_from(&friends, NEVER).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(blocks.between(ANN, BOB).is_err(), "the blocks are unknown");

    *friends.lock() = Ok(BTreeMap::from([(1, (ANN, BOB))]));
    within(SOON, || blocks.has(ANN, BOB)).await;

    let original = FriendService::new(Mutex::new(Err(StatusCode::NOT_FOUND)));
    let (blocks, _follows) = load_from(&original, NEVER).await;
    within(SOON, || blocks.between(ANN, BOB).is_ok_and(|blocked| !blocked)).await;
}

#[tokio::test]
async fn all_blocks_are_loaded_again_now_and_then() {
    let friends = FriendService::new(Mutex::new(Ok(BTreeMap::from([(1, (ANN, BOB))]))));
    let (blocks, follows) = load_from(&friends, Duration::from_secs(1)).await;
    follows.send(()).unwrap();
    within(SOON, || blocks.has(ANN, BOB)).await;

    *friends.lock() = Ok(BTreeMap::new());

    within(2 * SOON, || !blocks.has(ANN, BOB)).await;
}
