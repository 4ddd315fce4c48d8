//! Takeover of the stores that a running original left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use testkit::{SLACK, Server, Space};

use crate::app::{TestApp, mongo_database};
use crate::large_group::profiled;
use crate::person::{all_messages, pluck};
use crate::process::Process;

const MYSQL: &str = include_str!("../fixtures/original/mysql.sql");
pub const MESSAGES: &str = include_str!("../fixtures/original/messages.jsonl");
pub const READ: &str = include_str!("../fixtures/original/message_read_status.jsonl");
const INDEXES: &str = include_str!("../fixtures/original/mongo-indexes.json");

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn documents(values: Vec<Value>) -> Vec<Document> {
    values.into_iter().map(|value| serde_json::from_value(value).unwrap()).collect()
}

/// Starts a service on the original's stores with these messages.
pub async fn take_over(messages: Vec<Document>) -> TestApp {
    let (space, mysql_url) = original_stores(messages).await;
    TestApp::start_in(space, mysql_url, &[]).await
}

/// The original's stores with these messages, and the URL of its schema.
async fn original_stores(messages: Vec<Document>) -> (Space, String) {
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    sqlx::MySqlConnection::connect(&mysql_url).await.unwrap().execute(MYSQL).await.unwrap();
    let mongo = mongo_database(&space).await;
    mongo.collection("messages").insert_many(messages).await.unwrap();
    mongo.collection("message_read_status").insert_many(documents(lines(READ))).await.unwrap();
    let indexes: BTreeMap<String, Value> = serde_json::from_str(INDEXES).unwrap();
    for (collection, indexes) in indexes {
        for index in indexes.as_array().unwrap().iter().filter(|index| index["name"] != "_id_") {
            let name = index["name"].as_str().unwrap().to_owned();
            let keys: Document = index["key"].as_array().unwrap().iter().filter_map(index_key).collect();
            let model = IndexModel::builder().keys(keys).options(IndexOptions::builder().name(name).build()).build();
            mongo.collection::<Document>(&collection).create_index(model).await.unwrap();
        }
    }
    (space, mysql_url)
}

/// A field of an index. MongoDB lists the fields of a text index under its own names, `_fts` and `_ftsx`.
fn index_key(field: &Value) -> Option<(String, Bson)> {
    match field[0].as_str().unwrap() {
        "_fts" => Some(("content".to_owned(), Bson::from("text"))),
        "_ftsx" => None,
        name => Some((name.to_owned(), serde_json::from_value(field[1].clone()).unwrap())),
    }
}

/// The original's messages of a room, in the order of the positions that they get.
pub fn original_messages(room: i64) -> Vec<Value> {
    let mut messages: Vec<Value> = lines(MESSAGES).into_iter().filter(|message| message["room_id"] == room).collect();
    messages.sort_by_key(|message| {
        (message["created_at"]["$date"].to_string(), message["_id"]["$oid"].as_str().unwrap().to_owned())
    });
    messages
}

/// The original's rooms with their two members.
fn original_rooms() -> BTreeMap<i64, (i64, i64)> {
    let rows = MYSQL.lines().filter_map(|line| line.strip_prefix("INSERT INTO `chat_rooms`")?.split_once("VALUES ("));
    let ids = rows.map(|(_, values)| values.split(',').take(3).map(|id| id.parse().unwrap()).collect::<Vec<i64>>());
    ids.map(|ids| (ids[0], (ids[1], ids[2]))).collect()
}

/// The number of unread messages by the original's records.
pub fn original_unread(reader: i64, room: i64) -> i64 {
    let read: BTreeSet<String> = lines(READ)
        .into_iter()
        .filter(|row| row["user_id"] == reader)
        .map(|row| row["message_id"].as_str().unwrap().to_owned())
        .collect();
    let unread = original_messages(room).into_iter().filter(|message| {
        message["user_id"] != reader
            && message["is_deleted"] == false
            && !read.contains(message["_id"]["$oid"].as_str().unwrap())
    });
    unread.count() as i64
}

#[tokio::test]
async fn two_replicas_take_over_all_rooms_messages_and_read_markers() {
    let app = take_over(documents(lines(MESSAGES))).await;
    let replica = app.replica().await;

    for (room, (one, two)) in original_rooms() {
        let (one, two) = (app.person(one), app.person_at(&replica, two));
        let ((local, last_page), (remote, _)) =
            tokio::join!(all_messages(&one.client, room), all_messages(&two.client, room));

        let originals = original_messages(room);
        let kept = originals.iter().filter(|message| message["is_deleted"] == false);
        let kept: Vec<Value> = kept.map(|message| message["_id"]["$oid"].clone()).collect();
        assert_eq!(pluck(&local, "id"), kept);
        assert_eq!(pluck(&remote, "id"), kept);
        assert_eq!(last_page["total_count"], kept.len());
        for reader in [&one, &two] {
            assert_eq!(reader.unread(room).await, original_unread(reader.id, room), "{} in {room}", reader.id);
        }
        let next = one.sends(room, "after the takeover").await;
        assert_eq!(next["seq"], originals.len() + 1, "deleted messages have positions too");
        let mut stream = two.subscribes(room, Some("0")).await;
        for (position, message) in (1..).zip(&originals) {
            let event = stream.next().await;
            let content = if message["is_deleted"] == true { json!("") } else { message["content"].clone() };
            assert_eq!((event.position(), &event.data["id"]), (position, &message["_id"]["$oid"]));
            assert_eq!((&event.data["content"], &event.data["is_deleted"]), (&content, &message["is_deleted"]));
        }
        assert_eq!(stream.next().await.data["content"], "after the takeover");
    }
}

#[tokio::test]
async fn a_pair_with_two_rooms_gets_the_older_one_and_can_read_both() {
    let app = take_over(documents(lines(MESSAGES))).await;
    let (bob, carol) = (app.person(3108), app.person(3109));

    assert_eq!((bob.room_with(3109).await, carol.room_with(3108).await), (762, 762));
    for room in [762, 763] {
        let (listed, _) = all_messages(&bob.client, room).await;
        let kept = original_messages(room).iter().filter(|message| message["is_deleted"] == false).count();
        assert_eq!(listed.len(), kept);
        assert_eq!(carol.sends(room, "still here").await["room_id"], room);
    }
    let listed = pluck(&bob.rooms().await, "id");
    assert!([762, 763].iter().all(|room| listed.contains(&json!(room))));
}

#[tokio::test]
async fn two_replicas_assign_each_position_of_a_long_history_once() {
    /// Twenty transactions, for which the two replicas compete. `tests/load/history` measures longer histories.
    const MESSAGES: i64 = 20_000;
    let message = |n: i64| {
        let at = mongodb::bson::DateTime::from_millis(1_700_000_000_000 + n / 3);
        doc! {"user_id": 3095 + n % 2, "room_id": 764, "room_type": "private", "content": n.to_string(),
        "message_type": "text", "is_deleted": n % 10 == 0, "is_edited": false, "created_at": at, "updated_at": at}
    };
    let app = take_over((0..MESSAGES).map(message).collect()).await;
    let replica = app.replica().await;

    let newest = async |server: &Server, id: i64| {
        let client = app.person_at(server, id).client;
        loop {
            let page = client.get("/messages/764?limit=1").await;
            if page.status != 503 {
                break page.expect(200);
            }
        }
    };
    let mongo = mongo_database(&app.space).await;
    let mut pages = None;
    let numbered = profiled(&mongo, "room_log", async {
        pages = Some(tokio::join!(newest(&app.server, 3095), newest(&replica, 3096)));
    })
    .await;
    let (local, remote) = pages.unwrap();

    assert_eq!((&local["position"], &local["total_count"]), (&json!(MESSAGES), &json!(MESSAGES - MESSAGES / 10)));
    assert_eq!(local, remote);
    let entries = mongo.collection::<Document>("room_log").count_documents(doc! {}).await.unwrap();
    let positions = mongo.collection::<Document>("messages").distinct("seq", doc! {}).await.unwrap();
    assert_eq!((entries as i64, positions.len() as i64), (MESSAGES, MESSAGES));
    let page = numbered.iter().filter_map(|entry| entry.get_i32("ninserted").ok()).max();
    assert_eq!(page, Some(1_000), "the entries of one transaction");
}

#[tokio::test]
async fn twenty_clients_share_one_numbering_of_a_long_history() {
    const MESSAGES: i64 = 100_000;
    /// The limit on the additional memory in KiB.
    const MEMORY: u64 = 100 * 1_024;
    let (space, mysql_url) = original_stores(documents(lines(self::MESSAGES))).await;
    let messages = mongo_database(&space).await.collection::<Document>("messages");
    let message = |n: i64| {
        let at = mongodb::bson::DateTime::from_millis(1_700_000_000_000 + n);
        doc! {"user_id": 3095, "room_id": 769, "room_type": "private", "content": "가".repeat(100),
        "message_type": "text", "is_deleted": false, "is_edited": false, "created_at": at, "updated_at": at}
    };
    for page in (0..MESSAGES).collect::<Vec<_>>().chunks(10_000) {
        messages.insert_many(page.iter().map(|n| message(*n))).await.unwrap();
    }
    let process = Process::start(&space, &mysql_url, &[]).ready().await;
    let client = process.client(&space.token(3100, "person_3100"));
    client.get("/chat-rooms").await.expect(200);
    let before = process.peak_memory();

    let positions = join_all((0..20).map(async |_| {
        loop {
            let page = client.get("/messages/769?limit=1").await;
            if page.status != 503 {
                break page.expect(200)["position"].clone();
            }
        }
    }))
    .await;

    assert!(positions.iter().all(|position| *position == MESSAGES + 4), "{positions:?}");
    let more = process.peak_memory() - before;
    assert!(more < MEMORY, "{more} KiB");
}

#[tokio::test]
async fn a_failure_between_the_positions_and_the_reads_loses_no_read() {
    let app = take_over(documents(lines(MESSAGES))).await;
    let mongo = mongo_database(&app.space).await;
    let reader = |server: &Server| app.person_at(server, 3095);
    let validate = async |rule: Document| {
        mongo.run_command(doc! {"collMod": "room_marks", "validator": rule}).await.unwrap();
    };

    // The messages get their positions. Their reads cannot be stored.
    validate(doc! {"never": {"$exists": true}}).await;
    let refused = reader(&app.server).client.get("/messages/765").await;
    assert!(refused.status >= 500, "{}", refused.status);
    let unnumbered = mongo.collection::<Document>("messages").distinct("room_id", doc! {"seq": null}).await.unwrap();
    assert!(!unnumbered.contains(&Bson::from(765)), "{unnumbered:?}");
    validate(doc! {}).await;

    let replica = app.replica().await;
    for server in [&replica, &app.server] {
        assert_eq!(reader(server).unread(765).await, original_unread(3095, 765));
    }
}

/// mongorestore restores a unique index without its empty filter.
#[tokio::test]
async fn a_start_accepts_the_indexes_that_mongorestore_makes() {
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    let mongo = mongo_database(&space).await;
    Process::start(&space, &mysql_url, &[]).ready().await.kill().await;
    let reads = mongo.collection::<Document>("message_read_status");
    reads.drop_index("message_reader").await.unwrap();
    let unique = IndexOptions::builder().name("message_reader".to_owned()).unique(true).build();
    let restored = IndexModel::builder().keys(doc! {"message_id": 1, "user_id": 1}).options(unique).build();
    reads.create_index(restored).await.unwrap();

    Process::start(&space, &mysql_url, &[]).ready().await;
}

#[tokio::test]
async fn a_later_start_does_not_read_the_whole_history_of_reads() {
    /// The messages and the reads of the history, each by so many documents.
    const HISTORY: u32 = 20_000;
    /// Limit on the keys and documents that a start examines.
    const EXAMINED: i64 = 1_000;
    let app = take_over(documents(lines(MESSAGES))).await;
    let mongo = mongo_database(&app.space).await;
    let id = |n: u32| ObjectId::from_parts(1_700_000_000 + n, [0; 5], [0; 3]);
    let message = |n: u32| {
        let at = mongodb::bson::DateTime::from_millis(1_700_000_000_000);
        doc! {"_id": id(n), "user_id": 3095_i64, "room_id": 900_000_i64, "content": "x", "message_type": "text",
        "is_deleted": false, "created_at": at, "updated_at": at, "seq": i64::from(n) + 1}
    };
    let read = |n: u32| doc! {"_id": id(n), "message_id": id(n).to_hex(), "user_id": 3096_i64, "room_id": 900_000_i64, "marked": true};
    mongo.collection::<Document>("messages").insert_many((0..HISTORY).map(message)).await.unwrap();
    mongo.collection::<Document>("message_read_status").insert_many((0..HISTORY).map(read)).await.unwrap();
    mongo.run_command(doc! {"profile": 2}).await.unwrap();

    let replica = app.replica().await;
    app.person_at(&replica, 1).client.get("/chat-rooms").await.expect(200);

    mongo.run_command(doc! {"profile": 0}).await.unwrap();
    let names = ["messages", "message_read_status"].map(|name| format!("{}.{name}", mongo.name()));
    let profile = mongo.collection::<Document>("system.profile");
    let reads = profile.find(doc! {"ns": {"$in": &names[..]}}).await.unwrap();
    let reads: Vec<Document> = reads.try_collect().await.unwrap();
    let number = |entry: &Document, field| entry.get_i32(field).map_or(0, i64::from);
    let examined: i64 = reads.iter().map(|entry| number(entry, "keysExamined") + number(entry, "docsExamined")).sum();
    assert!(examined < EXAMINED, "{examined} keys and documents");
}

/// Fills a collection with documents of a number: `fields` computes the others from the variable `$n`. The server does it all.
async fn fill(mongo: &Database, collection: &str, documents: i64, fields: Document) {
    const CHUNK: i64 = 500_000;
    mongo.collection("seed").insert_one(doc! {}).await.unwrap();
    for first in (0..documents).step_by(CHUNK as usize) {
        let pipeline = [
            doc! {"$project": {"_id": 0, "n": {"$range": [first as i32, (first + CHUNK).min(documents) as i32]}}},
            doc! {"$unwind": "$n"},
            // 24 digits are an id: of the year 2023, followed by the number.
            doc! {"$set": {"hex": {"$concat": ["6553f100", {"$substrCP": [
                {"$toString": {"$add": [10_000_000_000_000_000_i64, "$n"]}}, 1, 16,
            ]}]}}},
            doc! {"$set": {"_id": {"$toObjectId": "$hex"}}},
            doc! {"$set": fields.clone()},
            doc! {"$unset": ["n", "hex"]},
            doc! {"$merge": {"into": collection, "whenMatched": "fail"}},
        ];
        let filled: Vec<Document> =
            mongo.collection::<Document>("seed").aggregate(pipeline).await.unwrap().try_collect().await.unwrap();
        assert!(filled.is_empty());
    }
    mongo.collection::<Document>("seed").drop().await.unwrap();
}

/// `cargo stack test -- -p chat-service --test it a_start_with_ten_million -- --ignored --nocapture`, which takes about
/// ten minutes.
#[tokio::test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "the measurement prints its result")]
async fn a_start_with_ten_million_reads_and_a_million_messages_is_ready_in_two_seconds() {
    const ROOM: i64 = 900_000;
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    let mongo = mongo_database(&space).await;
    Process::start(&space, &mysql_url, &[]).ready().await.kill().await;
    let at = mongodb::bson::DateTime::from_millis(1_700_000_000_000);
    let message = doc! {"room_id": ROOM, "user_id": 1_i64, "content": "x", "message_type": "text", "is_deleted": false,
    "created_at": at, "updated_at": at, "seq": {"$add": ["$n", 1_i64]}};
    fill(&mongo, "messages", 1_000_000, message).await;
    let read = doc! {"room_id": ROOM, "user_id": 2_i64, "message_id": "$hex", "read_at": at, "marked": true};
    fill(&mongo, "message_read_status", 10_000_000, read).await;

    let started = Instant::now();
    let _process = Process::start(&space, &mysql_url, &[]).ready().await;

    let took = started.elapsed();
    println!("ready after {took:?}");
    assert!(took < SLACK * Duration::from_secs(2), "{took:?}");
}
