//! A group of five hundred.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::app::TestApp;

const MEMBERS: i64 = 500;

/// What a send asks of MongoDB, operation by operation.
async fn asked_by(mongo: &Database, send: impl Future) -> Vec<String> {
    mongo.run_command(doc! {"profile": 2}).await.unwrap();
    send.await;
    mongo.run_command(doc! {"profile": 0}).await.unwrap();
    let profile = mongo.collection::<Document>("system.profile");
    // Events that Kafka has are cleared in the background, batch by batch.
    let name = mongo.name();
    let of_the_send = doc! {"ns": {"$in": [format!("{name}.messages"), format!("{name}.room_heads"), format!("{name}.room_log")]},
    "$nor": [{"ns": format!("{name}.room_log"), "op": {"$ne": "insert"}}]};
    let operations: Vec<Document> = profile.find(of_the_send).await.unwrap().try_collect().await.unwrap();
    profile.drop().await.unwrap();
    let mut asked: Vec<String> = operations
        .iter()
        .map(|one| format!("{} {}", one.get_str("op").unwrap(), one.get_str("ns").unwrap().rsplit('.').next().unwrap()))
        .collect();
    asked.sort_unstable();
    asked
}

#[tokio::test]
async fn a_send_asks_no_more_of_the_store_than_in_a_direct_room() {
    let app = TestApp::start().await;
    let (ann, _, direct) = app.two_in_a_room().await;
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    let mongo = mongodb::Client::with_uri_str(app.space.mongo_url()).await.unwrap();
    let mongo = mongo.database(&app.space.mongo_database());
    for room in [direct, group] {
        ann.says(room, "first").await;
    }

    let (in_direct, in_group) =
        (asked_by(&mongo, ann.says(direct, "x")).await, asked_by(&mongo, ann.says(group, "x")).await);

    assert!(in_direct.iter().any(|one| one == "insert messages"), "{in_direct:?}");
    assert_eq!(in_direct, in_group);
}

/// `cargo stack test -- -p chat-service --test it five_hundred_readers -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "it is its result")]
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
    let begun = Instant::now();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                for _ in 0..SENT {
                    stream.next_named("new_message").await;
                    heard.push(begun.elapsed());
                }
                heard
            })
        })
        .collect();
    let mut sent = Vec::new();
    for n in 0..SENT {
        sent.push(begun.elapsed());
        ann.says(group, &n.to_string()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let mut latencies: Vec<Duration> = Vec::new();
    for heard in join_all(readers).await {
        latencies.extend(heard.unwrap().iter().zip(&sent).map(|(heard, sent)| heard.saturating_sub(*sent)));
    }
    latencies.sort_unstable();
    let at = |share: usize| latencies[latencies.len() * share / 100 - 1];
    assert_eq!(latencies.len(), SENT * MEMBERS as usize);
    println!("{MEMBERS} readers, from the POST to the reader: p50 {:?}, p99 {:?}", at(50), at(99));
}
