//! The writer against a second replica, concurrent edits of one message, and a faulty connection to MongoDB.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use mongodb::{ClientSession, Collection};
use serde_json::{Value, json};
use testkit::{Client, FaultyLink, SLACK};

use crate::app::{TestApp, mongo_database, mongodb_at, mongodb_primary};
use crate::large_group::profiled;
use crate::person::{message_path, read_log};

/// The seed decides which pieces of traffic cut their connection. The timing decides which requests that affects.
const SEED: u64 = 20_261_124;

/// One piece of traffic in so many cuts its connection. A batch has about ten pieces.
const ONE_CUT_IN: u32 = 60;

const SENDERS: usize = 20;
const SENDS: usize = 25;
const EDITORS: usize = 3;
const EDITS: usize = 25;

/// The answers to the edits of one editor. After a 503 the edit may be in the log or not.
#[derive(Default)]
struct Edits {
    acknowledged: usize,
    unknown: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_connection_causes_no_gap_no_duplicate_and_no_lost_change() {
    let link = FaultyLink::to(mongodb_primary().await, SEED, ONE_CUT_IN).await;
    let app = TestApp::start_with(&[("MONGO_URL", mongodb_at(link.address))]).await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let ann_at_replica = app.person_at(&replica, ann.id);
    let edited = ann.sends(room, "edited").await;

    link.set_faulty(true);
    let clients = || [&ann.client, &ann_at_replica.client].into_iter().cycle();
    let senders = clients().zip(0..SENDERS).map(|(client, n)| send_all(client, room, n));
    let editors = clients().zip(0..EDITORS).map(|(client, n)| edit_all(client, &edited, n));
    let (sent, edits) = tokio::join!(join_all(senders), join_all(editors));
    link.set_faulty(false);
    assert!(link.cuts() >= 10, "only {} connections were cut", link.cuts());

    let sent: HashMap<String, Value> = sent.into_iter().flatten().collect();
    assert_eq!(sent.len(), SENDERS * SENDS, "every send was acknowledged in the end");
    let log = read_log(&bob.client, room).await;

    let new_messages: Vec<&Value> =
        log.iter().filter(|event| event.name == "new_message").map(|event| &event.data).collect();
    assert_eq!(new_messages.len(), 1 + sent.len(), "the log has every message once and no other");
    for message in new_messages {
        let Some(key) = message["client_message_id"].as_str() else { continue };
        assert_eq!((&sent[key]["id"], &sent[key]["seq"]), (&message["id"], &message["seq"]));
    }
    let logged = log.iter().filter(|event| event.name == "message_edited").count();
    let acknowledged: usize = edits.iter().map(|edits| edits.acknowledged).sum();
    let unknown: usize = edits.iter().map(|edits| edits.unknown).sum();
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&logged),
        "{logged} edits are in the log, {acknowledged} acknowledged, {unknown} unknown"
    );
    let id = edited["id"].as_str().unwrap();
    let listing = ann.client.get(&format!("/messages/{room}?limit=100&after={id}")).await;
    assert!(listing.ok(), "the replica reconnects without a restart: {}", listing.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_store_refuses_stands_alone_and_delays_no_other() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (cat, other_room) = (app.person(3), app.person(3).room_with(4).await);
    ann.sends(room, "first").await;
    let refuse = doc! {"collMod": "messages", "validator": {"content": {"$ne": "refused"}}};
    mongo_database(&app.space).await.run_command(refuse).await.unwrap();

    let started = Instant::now();
    let refused = join_all((0..3).map(|_| ann.tries_to_send(room, "refused")));
    let sent = join_all((0..60).map(|_| ann.tries_to_send(room, "sent")));
    let elsewhere = join_all((0..60).map(|_| cat.tries_to_send(other_room, "sent")));
    let (refused, sent, elsewhere) = tokio::join!(refused, sent, elsewhere);

    // Less than the 10 s after which the writer answers 503.
    assert!(started.elapsed() < SLACK * Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(refused.iter().all(|answer| answer.status == 500), "{refused:?}");
    assert!(sent.iter().chain(&elsewhere).all(|answer| answer.status == 201));
    assert_eq!(read_log(&bob.client, room).await.len(), 61);
}

#[tokio::test]
async fn a_repeat_is_found_before_anything_is_inserted() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let mongo = mongo_database(&app.space).await;
    let send =
        async || ann.client.post(&format!("/messages/{room}"), json!({"content": "x", "client_message_id": "k"})).await;
    let first = send().await.expect(201);

    let operations = profiled(&mongo, "messages", async {
        assert_eq!(send().await.expect(200), first);
    })
    .await;

    assert!(!operations.is_empty(), "the profile has the read of the repeat");
    assert!(operations.iter().all(|operation| operation.get_str("op").unwrap() != "insert"), "{operations:?}");
    assert_eq!(ann.sends(room, "next").await["seq"], 2);
}

/// Sends messages with a key each, and repeats each send until it is acknowledged.
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

async fn edit_all(client: &Client, message: &Value, editor: usize) -> Edits {
    let mut edits = Edits::default();
    for n in 0..EDITS {
        let body = json!({"content": format!("edit {editor}-{n}")});
        let answer = client.put(&message_path(message), body).await;
        match answer.status {
            200 => edits.acknowledged += 1,
            503 => edits.unknown += 1,
            other => panic!("{other}: {}", answer.text),
        }
    }
    edits
}

/// Another writer's transaction, which has changed the head of a room and is not committed.
pub async fn hold(heads: &Collection<Document>, room: i64) -> ClientSession {
    let mut other_writer = heads.client().start_session().await.unwrap();
    other_writer.start_transaction().await.unwrap();
    let held = heads.update_one(doc! {"_id": room}, doc! {"$set": {"held": true}}).session(&mut other_writer).await;
    assert_eq!(held.unwrap().matched_count, 1);
    other_writer
}

#[tokio::test]
async fn the_room_list_has_the_text_after_an_edit_that_shares_a_batch_with_a_deletion() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let edited = message_path(&ann.sends(room, "a secret").await);
    let deleted = message_path(&ann.sends(room, "last").await);
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let mut other_writer = hold(&heads, room).await;

    // The first request conflicts, and those that come after it wait together.
    let changes = async {
        let reaction = format!("{edited}/reactions/👍");
        let (first, edit, delete) = tokio::join!(
            ann.client.put(&reaction, json!({})),
            async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                ann.client.put(&edited, json!({"content": "nothing"})).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                ann.client.delete(&deleted).await
            },
        );
        assert_eq!([first, edit, delete].map(|answer| answer.status), [200; 3]);
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        other_writer.abort_transaction().await.unwrap();
    };
    tokio::join!(changes, release);

    assert_eq!(ann.rooms().await[0]["last_message"]["content"], "nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_room_stay_in_order_while_they_conflict_with_another_writer() {
    const SENDS: u32 = 12;
    const PAUSE: Duration = Duration::from_millis(100);
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "first").await;
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let mut other_writer = hold(&heads, room).await;

    let sent = join_all((0..SENDS).map(async |n| {
        tokio::time::sleep(PAUSE * n).await;
        ann.sends(room, &n.to_string()).await["seq"].as_u64().unwrap()
    }));
    let release = async {
        tokio::time::sleep(PAUSE * (SENDS + 5)).await;
        other_writer.abort_transaction().await.unwrap();
    };
    let (positions, ()) = tokio::join!(sent, release);

    assert_eq!(positions, (2..2 + u64::from(SENDS)).collect::<Vec<_>>());
    assert_eq!(bob.sends(room, "after").await["seq"], 2 + SENDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_conflicts_with_another_writer_delays_no_other_room() {
    let app = TestApp::start().await;
    let (ann, _, held) = app.direct_room().await;
    let (cat, free) = (app.person(3), app.person(3).room_with(4).await);
    ann.sends(held, "first").await;
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let mut other_writer = hold(&heads, held).await;

    let waiting = tokio::spawn({
        let ann = ann.clone();
        async move { ann.tries_to_send(held, "waiting").await }
    });
    // Less than the 10 s after which the writer answers 503.
    let sent = join_all((0..20).map(|_| cat.sends(free, "sent")));
    tokio::time::timeout(SLACK * Duration::from_secs(2), sent).await.expect("the other room does not wait");
    assert!(!waiting.is_finished());
    other_writer.abort_transaction().await.unwrap();

    waiting.await.unwrap().expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_of_one_batch_are_written_once_without_an_error_of_the_store() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let mongo = mongo_database(&app.space).await;
    let send = async |key: usize| {
        let body = json!({"content": "x", "client_message_id": key.to_string()});
        ann.client.post(&format!("/messages/{room}"), body).await
    };
    send(0).await.expect(201);

    let operations = profiled(&mongo, "messages", async {
        // While the writer writes a batch, the next one gathers, with all repeats of a key.
        let answers = join_all((0..100).map(|n| send(1 + n / 10))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    })
    .await;

    // A try that the store refuses has inserted some of them, too.
    let inserts = operations.iter().filter(|operation| operation.get_str("op").unwrap() == "insert");
    let inserted: i64 = inserts.map(|insert| i64::from(insert.get_i32("ninserted").unwrap_or(0))).sum();
    assert_eq!(inserted, 10, "{operations:?}");
}
