//! A group of five hundred members.

use std::slice;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use testkit::SLACK;

use crate::app::{TestApp, mongo_database};
use crate::person::Person;

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

/// The entries of the profile of what `action` does in a collection.
pub async fn profiled(mongo: &Database, collection: &str, action: impl Future) -> Vec<Document> {
    mongo.run_command(doc! {"profile": 2}).await.unwrap();
    action.await;
    mongo.run_command(doc! {"profile": 0}).await.unwrap();
    let profile = mongo.collection::<Document>("system.profile");
    let in_collection = doc! {"ns": format!("{}.{collection}", mongo.name())};
    let entries = profile.find(in_collection).await.unwrap().try_collect().await.unwrap();
    profile.drop().await.unwrap();
    entries
}

/// The `n`th message of a group, as the original stores it.
fn of_the_original(group: i64, sender: i64, n: i64) -> Document {
    let at = DateTime::from_millis(1_700_000_000_000 + n);
    doc! {
        "user_id": sender, "room_id": group, "room_type": "group", "content": n.to_string(), "message_type": "text",
        "created_at": at, "updated_at": at, "is_deleted": false,
    }
}

#[tokio::test]
async fn the_markers_of_a_page_are_small_when_five_hundred_members_read_ten_thousand_messages_one_by_one() {
    const READ: i64 = 10_000;
    const PAGE_MILLIS: i32 = 10;
    const PAGE_BYTES: i64 = 50_000;
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    let mongo = mongo_database(&app.space).await;
    let sent = (0..=READ).map(|n| of_the_original(group, 1, n));
    let messages = mongo.collection::<Document>("messages").insert_many(sent).await.unwrap();
    // The first replica knows the group as one without messages of the original.
    let replica = app.replica().await;
    let [ann, bob] = [1, 2].map(|id| app.person_at(&replica, id));
    ann.messages(group).await;
    let mut ids: Vec<(usize, String)> =
        messages.inserted_ids.iter().map(|(n, id)| (*n, id.as_object_id().unwrap().to_hex())).collect();
    ids.sort_unstable();

    // One early message stays unread.
    for chunk in ids[1..].chunks(1_000) {
        let chunk: Vec<&str> = chunk.iter().map(|(_, id)| id.as_str()).collect();
        let read = bob.client.post("/messages/read", json!({"room_id": group, "message_ids": chunk})).await.expect(200);
        assert_eq!(read["read_count"], chunk.len());
    }
    let markers = mongo.collection::<Document>("room_marks");
    let marker = markers.find_one(doc! {"_id": {"room": group, "user": bob.id}}).await.unwrap().unwrap();
    let of = |member: i64| {
        let mut marker = marker.clone();
        marker.insert("_id", doc! {"room": group, "user": member});
        // A hundred ranges that do not concern the page.
        let mut ranges: Vec<Document> = (1..=100).map(|n: i64| doc! {"from": 20 * n, "to": 20 * n + 9}).collect();
        ranges.push(doc! {"from": 3_000_i64, "to": READ + 1});
        marker.insert("ranges", ranges);
        marker
    };
    markers.insert_many((3..=MEMBERS).map(of)).await.unwrap();

    let mut page = None;
    let of_page = profiled(&mongo, "room_marks", async {
        page = Some(ann.client.get(&format!("/messages/{group}?limit=50")).await.expect(200));
    })
    .await;
    let bytes: i64 = of_page.iter().map(|entry| i64::from(entry.get_i32("responseLength").unwrap())).sum();
    assert_eq!(of_page.len(), 1, "one read of all markers: {of_page:?}");
    assert!(bytes < PAGE_BYTES, "{bytes} bytes");
    assert!(page.unwrap()["messages"].as_array().unwrap().iter().all(|message| message["is_read"] == true));
    // Of an older page, each of the others has read ten of twenty positions.
    let older = ann.client.get(&format!("/messages/{group}?limit=50&skip=8500")).await.expect(200);
    let counts = older["messages"].as_array().unwrap().iter().map(|message| message["read_by_count"].clone());
    let last = READ + 1 - 8_500;
    let expected = (last - 49..=last).map(|position| json!(if position % 20 < 10 { MEMBERS - 1 } else { 1 }));
    assert_eq!(counts.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let of_count = profiled(&mongo, "messages", async { assert_eq!(bob.unread(group).await, 1) }).await;
    let examined: i64 = of_count.iter().map(|entry| i64::from(entry.get_i32("keysExamined").unwrap_or(0))).sum();
    assert!(examined < 100, "the count passes over what is read: {examined} keys");
    // What is read without a gap is one range.
    let whole = doc! {"from": 2_i64, "to": READ + 1};
    let others = doc! {"_id.user": {"$gt": bob.id}};
    markers.update_many(others, doc! {"$set": {"ranges": [whole]}}).await.unwrap();
    // The server's time: that of the service depends on its build.
    let of_pages = profiled(&mongo, "room_marks", async {
        for _ in 0..10 {
            ann.client.get(&format!("/messages/{group}?limit=50")).await.expect(200);
        }
    })
    .await;
    let millis = |entry: &Document| entry.get_i32("millis").unwrap();
    let mut times: Vec<i32> =
        of_pages.iter().filter(|entry| entry.get_i32("nreturned").unwrap_or(0) > 1).map(millis).collect();
    times.sort_unstable();
    assert!(times[times.len() / 2] < SLACK as i32 * PAGE_MILLIS, "{times:?} ms");
}

#[tokio::test]
async fn the_reads_of_five_hundred_members_are_one_batch_a_second_and_a_page_names_twenty_readers() {
    const SIMULTANEOUS: usize = 125;
    let app = TestApp::start_with(&[("WRITE_LIMIT_CHANGES", "0".to_owned())]).await;
    let ann = app.person(1);
    let group = ann.group_with(&(2..=MEMBERS).collect::<Vec<_>>()).await;
    let sent = ann.sends(group, "for all").await;
    let mongo = mongo_database(&app.space).await;
    let members: Vec<Person> = (2..=MEMBERS).map(|id| app.person(id)).collect();
    // The writes of a batch in one collection are one command. The profile has an entry for each document of an update.
    let started = Instant::now();
    let batches = profiled(&mongo, "room_reads", async {
        let sent = &sent;
        let read = members.iter().enumerate().map(|(n, member)| async move {
            if n % 2 == 0 { member.reads_all(group).await } else { member.reads(group, slice::from_ref(sent)).await }
        });
        let read: Vec<Value> = stream::iter(read).buffer_unordered(SIMULTANEOUS).collect().await;
        assert!(read.iter().all(|answer| answer["read_count"] == 1));
    })
    .await;

    let inserts = batches.iter().filter(|entry| entry.get_str("op").unwrap() == "insert").count();
    let seconds = started.elapsed().as_secs() as usize;
    assert!(inserts <= seconds + 2, "{inserts} batches in {seconds} s for {} reads", members.len());
    let message = ann.messages(group).await.remove(0);
    assert_eq!((&message["is_read"], &message["read_by_count"]), (&json!(true), &json!(MEMBERS - 1)));
    assert_eq!(message["read_by"], json!((2..=21).collect::<Vec<i64>>()));
    assert_eq!(app.person(MEMBERS).unread(group).await, 0);
}

#[tokio::test]
async fn reads_of_a_large_group_that_come_one_after_another_wait_for_each_other() {
    const READERS: u32 = 60;
    const PAUSE: Duration = Duration::from_millis(25);
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&(2..=120).collect::<Vec<_>>()).await;
    ann.sends(group, "for all").await;
    let mongo = mongo_database(&app.space).await;

    let started = Instant::now();
    let batches = profiled(&mongo, "room_reads", async {
        let reads = (0..READERS).map(async |n| {
            tokio::time::sleep(PAUSE * n).await;
            app.person(2 + i64::from(n)).reads_all(group).await
        });
        assert!(join_all(reads).await.iter().all(|answer| answer["read_count"] == 1));
    })
    .await;

    let inserts = batches.iter().filter(|entry| entry.get_str("op").unwrap() == "insert").count();
    let seconds = started.elapsed().as_secs() as usize;
    assert!(inserts <= seconds + 2, "{inserts} batches in {seconds} s for {READERS} reads");
}

#[tokio::test]
async fn a_read_that_shares_a_batch_counts_the_messages_before_the_reader_s_own() {
    const OLDER: i64 = 200;
    const OWN: i64 = 950;
    const NEWER: i64 = 50;
    let app = TestApp::start().await;
    let (ann, bob, cat, dan) = (app.person(1), app.person(2), app.person(3), app.person(4));
    let group = ann.group_with(&(2..=120).collect::<Vec<_>>()).await;
    let sender = |n: i64| if (OLDER..OLDER + OWN).contains(&n) { bob.id } else { ann.id };
    let sent = (0..OLDER + OWN + NEWER).map(|n| of_the_original(group, sender(n), n));
    mongo_database(&app.space).await.collection::<Document>("messages").insert_many(sent).await.unwrap();
    // The first replica knows the group as one without messages of the original.
    let replica = app.replica().await;
    let [bob, cat, dan] = [bob, cat, dan].map(|person| app.person_at(&replica, person.id));

    // The reads that come within a second after one wait for each other.
    cat.reads_all(group).await;
    let (of_bob, of_dan) = tokio::join!(bob.reads_all(group), dan.reads_all(group));

    assert_eq!((&of_bob["read_count"], &of_dan["read_count"]), (&json!(OLDER + NEWER), &json!(1_000)));
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
