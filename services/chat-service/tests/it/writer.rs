//! The writer against another writer, against changers of one message, and on a bad wire.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, FaultyLink, Sse};

use crate::app::TestApp;

/// Which connections are cut follows from it; which request that meets, from the moment.
const SEED: u64 = 20_261_124;

/// A piece of traffic in so many cuts its connection: a batch has about ten pieces.
const ONE_CUT_IN: u32 = 60;

const SENDERS: usize = 20;
const SENDS: usize = 25;
const CHANGERS: usize = 3;
const CHANGES: usize = 25;

/// What an edit was answered: it is in, or nobody knows.
#[derive(Default)]
struct Edits {
    acknowledged: Vec<String>,
    unknown: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hole_no_double_and_no_lost_change_on_a_bad_wire() {
    let link = FaultyLink::to(engine(), SEED, ONE_CUT_IN).await;
    let through_the_link = format!("mongodb://{}/?replicaSet=rs0&directConnection=true", link.address);
    let app = TestApp::start_with(&[("MONGO_URL", through_the_link)]).await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let other = app.replica().await;
    let elsewhere = app.person_at(&other, ann.id).client;
    let contested = ann.says(room, "contested").await["id"].as_str().unwrap().to_owned();

    link.set_faulty(true);
    let senders = (0..SENDERS).map(|n| send_all(if n % 2 == 0 { &ann.client } else { &elsewhere }, room, n));
    let changers = (0..CHANGERS).map(|n| edit_all(if n % 2 == 0 { &ann.client } else { &elsewhere }, &contested, n));
    let (sent, edits) = tokio::join!(join_all(senders), join_all(changers));
    link.set_faulty(false);
    assert!(link.cuts() >= 10, "only {} faults met the writers", link.cuts());

    let sent: HashMap<String, Value> = sent.into_iter().flatten().collect();
    assert_eq!(sent.len(), SENDERS * SENDS, "every send was acknowledged in the end");
    let mut stream = bob.client.stream(&format!("/messages/stream/{room}"), Some("0")).await;
    let log = read_log(&mut stream, &bob.client, room).await;

    let births: Vec<&Value> = log.values().filter(|(name, _)| name == "new_message").map(|(_, data)| data).collect();
    assert_eq!(births.len(), 1 + sent.len(), "no message twice, none that was not sent");
    for birth in births {
        let Some(key) = birth["client_message_id"].as_str() else { continue };
        assert_eq!((&sent[key]["id"], &sent[key]["seq"]), (&birth["id"], &birth["seq"]));
    }
    let told = log.values().filter(|(name, _)| name == "message_edited").count();
    let (acknowledged, unknown) =
        edits.iter().fold((0, 0), |(a, u), e| (a + e.acknowledged.len(), u + e.unknown.len()));
    assert!((acknowledged..=acknowledged + unknown).contains(&told), "{acknowledged} <= {told} <= +{unknown}");
    let last = ann.client.get(&format!("/messages/{room}?limit=100&after={contested}")).await;
    assert!(last.ok(), "the store is reached again without a restart: {}", last.text);
}

/// Sends with a key of its own for each message, and again until it is acknowledged.
async fn send_all(client: &Client, room: i64, sender: usize) -> Vec<(String, Value)> {
    let mut sent = Vec::new();
    for n in 0..SENDS {
        let key = format!("{sender}-{n}");
        let body = json!({"content": key, "client_message_id": key});
        loop {
            let answer = client.post(&format!("/messages/{room}"), body.clone()).await;
            match answer.status {
                200 | 201 => break sent.push((key, answer.body)),
                503 => assert!(answer.header("retry-after").is_some()),
                other => panic!("{other}: {}", answer.text),
            }
        }
    }
    sent
}

async fn edit_all(client: &Client, message: &str, changer: usize) -> Edits {
    let mut edits = Edits::default();
    for n in 0..CHANGES {
        let content = format!("edit {changer}-{n}");
        let request = client.request(Method::PUT, &format!("/messages/{message}")).json(&json!({"content": content}));
        let answer = client.send(request).await;
        match answer.status {
            200 => edits.acknowledged.push(content),
            503 => edits.unknown.push(content),
            other => panic!("{other}: {}", answer.text),
        }
    }
    edits
}

/// The whole log of a room by its position, which proves that it has no hole.
async fn read_log(stream: &mut Sse, client: &Client, room: i64) -> BTreeMap<i64, (String, Value)> {
    let page = client.get(&format!("/messages/{room}?limit=1")).await.expect(200);
    let end = page["position"].as_i64().unwrap();
    assert_eq!(stream.next().await.name, "connected");
    let mut log = BTreeMap::new();
    for position in 1..=end {
        let event = stream.next().await;
        assert_eq!(event.id, position.to_string(), "the log has no hole");
        log.insert(position, (event.name, event.data));
    }
    log
}

fn engine() -> SocketAddr {
    let url = std::env::var("MONGO_URL").expect("MONGO_URL is not set: run the tests with `cargo stack test`");
    let address = url.trim_start_matches("mongodb://").split(['/', '?']).next().unwrap_or_default();
    address.rsplit('@').next().unwrap_or_default().parse().expect("MONGO_URL names one host and port")
}
