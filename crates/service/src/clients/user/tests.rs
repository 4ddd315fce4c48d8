use std::net::SocketAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use common::config::Env;
use common::error::Detail;
use engines::presence::Presence;
use engines::redis::Redis;
use parking_lot::Mutex;
use platform::config::Base;
use platform::{Platform, Service};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::auth::TokenRole;

/// A user-service whose users are 1 to 1,000. It answers a batch only with a permit.
#[derive(Clone)]
struct Peer {
    batches: Arc<Mutex<Vec<usize>>>,
    exists: Arc<Mutex<u32>>,
    may_answer: Arc<Semaphore>,
}

impl Peer {
    async fn start() -> (Self, UserClient) {
        let peer = Self { batches: Arc::default(), exists: Arc::default(), may_answer: Arc::new(Semaphore::new(0)) };
        let router = axum::Router::new()
            .route("/api/users/batch", post(batch))
            .route("/api/users/{id}/exists", get(exists))
            .with_state(peer.clone());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let client = client(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (peer, client)
    }

    fn answer(&self, batches: usize) {
        self.may_answer.add_permits(batches);
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().clone()
    }
}

async fn batch(State(peer): State<Peer>, Json(body): Json<Value>) -> Json<Value> {
    let ids: Vec<i64> = serde_json::from_value(body["user_ids"].clone()).unwrap();
    let version = {
        let mut batches = peer.batches.lock();
        batches.push(ids.len());
        batches.len()
    };
    peer.may_answer.acquire().await.unwrap().forget();
    let known = ids.into_iter().filter(|id| *id <= 1000);
    Json(known.map(|id| json!({"id": id, "username": format!("user{id}.{version}")})).collect())
}

async fn exists(State(peer): State<Peer>, Path(id): Path<i64>) -> Json<Value> {
    *peer.exists.lock() += 1;
    Json(json!({"user_id": id, "exists": id <= 1000}))
}

fn client(url: String) -> UserClient {
    let env = [("SECRET_KEY", "a-secret-of-our-own-with-32-bytes!"), ("MYSQL_HOST", "none")];
    let base = Base::read(&Env::of(env.map(|(name, value)| (name, value.to_owned()))), "friend-service", 0).unwrap();
    let service = Service { name: "friend-service", title: "", port: 0, refusals: Detail::Text, password_flow: false };
    let platform = Platform::new(service, base).unwrap();
    // No request is authenticated here, so nothing connects to Redis.
    let redis = Redis::new(&platform.config.redis_url, &platform.config.redis_tls, "", &platform.metrics).unwrap();
    let role = TokenRole::Verifier { user_service_url: url.clone() };
    let auth = Auth::new(&platform, &redis, Presence::new(redis.clone(), Duration::from_secs(60)), role).unwrap();
    UserClient::new(url, &platform.config.calls, Duration::from_secs(300), &auth, &platform.metrics).unwrap()
}

fn ids(ids: impl IntoIterator<Item = i64>) -> Vec<UserId> {
    ids.into_iter().map(UserId).collect()
}

#[tokio::test]
async fn many_profiles_are_loaded_in_batches_of_100_and_cached() {
    let (peer, client) = Peer::start().await;
    peer.answer(3);

    let profiles = client.profiles(&ids((1..=250).chain(1..=10))).await.unwrap();
    client.profiles(&ids(1..=250)).await.unwrap();

    assert_eq!(profiles.len(), 250);
    let mut batches = peer.batches();
    batches.sort_unstable();
    assert_eq!(batches, [50, 100, 100]);
}

#[tokio::test]
async fn concurrent_requests_share_a_batch() {
    let (peer, client) = Peer::start().await;
    peer.answer(1);

    let (a, b, c) = tokio::join!(
        client.profiles(&[UserId(1), UserId(2)]),
        client.profiles(&[UserId(2), UserId(3)]),
        client.profiles(&[UserId(4)])
    );

    assert_eq!([a.unwrap().len(), b.unwrap().len(), c.unwrap().len()], [2, 2, 1]);
    assert_eq!(peer.batches(), [4]);
}

#[tokio::test]
async fn an_absent_user_is_left_out_and_lists_do_not_load_it_again() {
    let (peer, client) = Peer::start().await;
    peer.answer(10);

    assert_eq!(client.profiles(&ids([1, 5000])).await.unwrap().len(), 1);
    assert_eq!(client.available_profiles(&ids([1, 5000])).await.len(), 1);
    assert_eq!(peer.batches(), [2]);

    client.profiles(&ids([5000])).await.unwrap();
    assert_eq!(peer.batches(), [2, 1], "a request that needs the profile loads it again");
}

#[tokio::test]
async fn a_profile_that_becomes_stale_while_it_is_loaded_is_not_cached() {
    let (peer, client) = Peer::start().await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.profiles(&[UserId(1)]).await }
    });
    while peer.batches().is_empty() {
        tokio::task::yield_now().await;
    }

    client.invalidate(UserId(1)).await;
    peer.answer(2);

    assert_eq!(waiting.await.unwrap().unwrap()[&UserId(1)].username, "user1.1");
    assert_eq!(client.profiles(&[UserId(1)]).await.unwrap()[&UserId(1)].username, "user1.2");
}

#[tokio::test]
async fn a_list_does_not_wait_and_finds_the_profiles_later() {
    let (peer, client) = Peer::start().await;

    assert!(client.available_profiles(&[UserId(1)]).await.is_empty());
    peer.answer(1);
    while client.available_profiles(&[UserId(1)]).await.is_empty() {}

    assert_eq!(peer.batches(), [1], "the first batch loaded them");
}

#[tokio::test]
async fn calls_follow_no_redirection() {
    let followed = Arc::new(Mutex::new(false));
    let elsewhere = followed.clone();
    let router = axum::Router::new()
        .route("/api/users/{id}/exists", get(|| async { axum::response::Redirect::temporary("/elsewhere") }))
        .route("/elsewhere", get(move || async move { *elsewhere.lock() = true }));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = client(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    assert!(client.exists(UserId(1)).await.is_err());
    assert!(!*followed.lock());
}

#[tokio::test]
async fn existence_is_cached_and_absence_is_not() {
    let (peer, client) = Peer::start().await;
    let asked = || *peer.exists.lock();

    let (a, b) = tokio::join!(client.exists(UserId(1)), client.exists(UserId(1)));
    assert!(a.unwrap() && b.unwrap() && client.exists(UserId(1)).await.unwrap());
    assert_eq!(asked(), 1);

    for _ in 0..2 {
        assert!(!client.exists(UserId(5000)).await.unwrap());
    }
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn a_long_list_has_a_bounded_number_of_calls_in_flight() {
    let (peer, client) = Peer::start().await;
    let ids: Vec<UserId> = (1..=3_000).map(UserId).collect();
    let listing = tokio::spawn(async move { client.profiles(&ids).await });

    let in_flight = || async {
        while peer.batches().len() < loader::MAX_IN_FLIGHT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), in_flight()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(peer.batches().len(), loader::MAX_IN_FLIGHT);

    peer.answer(30);
    assert_eq!(listing.await.unwrap().unwrap().len(), 1_000);
    assert_eq!(peer.batches().len(), 30);
}
