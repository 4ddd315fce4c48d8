//! A group of five hundred members.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::app::{TestApp, mongo_database};

const MEMBERS: i64 = 500;

/// The operations that MongoDB executes for a send, sorted.
async fn operations_of(mongo: &Database, send: impl Future) -> Vec<String> {
    mongo.run_command(doc! {"profile": 2}).await.unwrap();
    send.await;
    mongo.run_command(doc! {"profile": 0}).await.unwrap();
    let profile = mongo.collection::<Document>("system.profile");
    let [messages, heads, log] = ["messages", "room_heads", "room_log"].map(|name| format!("{}.{name}", mongo.name()));
    // Other operations on the log belong to the background task that clears published events.
    let of_the_send = doc! {"ns": {"$in": [&messages, &heads, &log]}, "$nor": [{"ns": &log, "op": {"$ne": "insert"}}]};
    let entries: Vec<Document> = profile.find(of_the_send).await.unwrap().try_collect().await.unwrap();
    profile.drop().await.unwrap();
    let collection = |entry: &Document| entry.get_str("ns").unwrap().rsplit('.').next().unwrap().to_owned();
    let mut operations: Vec<String> =
        entries.iter().map(|entry| format!("{} {}", entry.get_str("op").unwrap(), collection(entry))).collect();
    operations.sort_unstable();
    operations
}

#[tokio::test]
async fn a_send_costs_the_same_operations_as_in_a_direct_room() {
    let app = TestApp::start().await;
    let (ann, _, direct) = app.direct_room().await;
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    let mongo = mongo_database(&app.space).await;
    for room in [direct, group] {
        ann.sends(room, "first").await;
    }

    let in_direct = operations_of(&mongo, ann.sends(direct, "x")).await;
    let in_group = operations_of(&mongo, ann.sends(group, "x")).await;

    assert!(in_direct.iter().any(|operation| operation == "insert messages"), "{in_direct:?}");
    assert_eq!(in_direct, in_group);
}

/// `cargo stack test -- -p chat-service --test it five_hundred_readers -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "the measurement prints its result")]
async fn five_hundred_readers_of_a_group() {
    const SENT: usize = 50;
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    let mut streams = Vec::new();
    for person in 1..=MEMBERS {
        let mut stream = app.person(person).client.stream("/messages/stream", None).await;
        stream.next().await;
        streams.push(stream);
    }
    let start = Instant::now();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let mut received = Vec::new();
                for _ in 0..SENT {
                    stream.next_named("new_message").await;
                    received.push(start.elapsed());
                }
                received
            })
        })
        .collect();
    let mut sent = Vec::new();
    for n in 0..SENT {
        sent.push(start.elapsed());
        ann.sends(group, &n.to_string()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let mut latencies: Vec<Duration> = Vec::new();
    for received in join_all(readers).await {
        latencies.extend(received.unwrap().iter().zip(&sent).map(|(received, sent)| received.saturating_sub(*sent)));
    }
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies[latencies.len() * percent / 100 - 1];
    assert_eq!(latencies.len(), SENT * MEMBERS as usize);
    println!("{MEMBERS} readers, from the POST to the reader: p50 {:?}, p99 {:?}", percentile(50), percentile(99));
}
