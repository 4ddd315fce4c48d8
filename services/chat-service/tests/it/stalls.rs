//! Sends and reads of messages in a store that answers all but one of them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use testkit::{Answer, Client, FaultyLink, SLACK};

use crate::app::{TestApp, mongodb_at, mongodb_primary};

const SEED: u64 = 20_261_126;

/// A service whose link to MongoDB holds what [`FaultyLink::hold`] names.
async fn start() -> (FaultyLink, TestApp) {
    let link = FaultyLink::to(mongodb_primary().await, SEED, 1).await;
    let app = TestApp::start_with(&[("MONGO_URL", mongodb_at(link.address))]).await;
    (link, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_the_store_does_not_answer_stands_alone() {
    const MEMBERS: i64 = 30;
    let (link, app) = start().await;
    let ann = app.person(1);
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    ann.sends(group, "for all").await;
    let reader = app.person(MEMBERS + 1);
    let room = ann.room_with(reader.id).await;
    let held = ann.sends(room, "held").await;
    link.hold(held["id"].as_str().unwrap());

    let clients: Vec<Client> = (2..=MEMBERS).map(|member| app.person(member).client).collect();
    let (first, second) = clients.split_at(clients.len() / 2);
    let of_held = reader.client.post("/messages/read", json!({"room_id": room, "message_ids": [held["id"]]}));
    let (first, of_held, second) = tokio::join!(read_all(first, group), of_held, read_all(second, group));

    assert_eq!(of_held.status, 503, "{}", of_held.text);
    let others: Vec<u16> = first.iter().chain(&second).map(|answer| answer.status).collect();
    assert!(others.iter().all(|status| *status == 200), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_the_store_does_not_answer_stands_alone() {
    const ROOMS: i64 = 30;
    let (link, app) = start().await;
    let ann = app.person(1);
    let rooms: Vec<i64> = join_all((2..2 + ROOMS).map(|friend| ann.room_with(friend))).await;
    let (held, others) = rooms.split_first().unwrap();
    link.hold("nobody stores this");

    let (first, second) = others.split_at(others.len() / 2);
    let path = format!("/messages/{held}");
    let send_held = ann.client.post(&path, json!({"content": "nobody stores this"}));
    let (first, of_held, second) = tokio::join!(send_all(&ann.client, first), send_held, send_all(&ann.client, second));

    assert_eq!(of_held.status, 503, "{}", of_held.text);
    let others: Vec<u16> = first.iter().chain(&second).map(|answer| answer.status).collect();
    assert!(others.iter().all(|status| *status == 201), "{others:?}");
}

/// A thousand sends are ten batches. Each of them is tried only as long as somebody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sends_that_wait_for_a_store_without_answers_are_refused_together() {
    const SENDS: usize = 1_000;
    let (link, app) = start().await;
    let ann = app.person(1);
    let room = ann.room_with(2).await;
    link.hold("nobody stores this");

    let path = format!("/messages/{room}");
    let began = Instant::now();
    let answers = join_all((0..SENDS).map(|_| async {
        let answer = ann.client.post(&path, json!({"content": "nobody stores this"})).await;
        (answer.status, Instant::now())
    }))
    .await;

    assert!(answers.iter().all(|(status, _)| *status == 503), "{answers:?}");
    let times = answers.iter().map(|(_, at)| at);
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    assert!(first.duration_since(began) > Duration::from_secs(5), "the first batch is tried until its deadline");
    let between = last.duration_since(*first);
    // Nine batches that are tried after their deadline would take 2 s each.
    assert!(between < SLACK * Duration::from_secs(3), "{between:?}");
}

async fn send_all(client: &Client, rooms: &[i64]) -> Vec<Answer> {
    let path = |room: &i64| format!("/messages/{room}");
    join_all(rooms.iter().map(|room| async move { client.post(&path(room), json!({"content": "hello"})).await })).await
}

async fn read_all(clients: &[Client], room: i64) -> Vec<Answer> {
    join_all(clients.iter().map(|client| client.post("/messages/read", json!({"room_id": room})))).await
}
