//! What a running original left behind goes on here.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use testkit::{Server, Space};

use crate::app::{Person, TestApp};

const MYSQL: &str = include_str!("../fixtures/original/mysql.sql");
const MESSAGES: &str = include_str!("../fixtures/original/messages.jsonl");
const READ: &str = include_str!("../fixtures/original/message_read_status.jsonl");
const INDEXES: &str = include_str!("../fixtures/original/mongo-indexes.json");

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn documents(values: Vec<Value>) -> Vec<Document> {
    values.into_iter().map(|value| serde_json::from_value(value).unwrap()).collect()
}

async fn database(space: &Space) -> Database {
    mongodb::Client::with_uri_str(space.mongo_url()).await.unwrap().database(&space.mongo_database())
}

/// The original's stores, as it left them.
async fn left_by_the_original(messages: Vec<Document>) -> (Space, String) {
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    sqlx::MySqlConnection::connect(&mysql_url).await.unwrap().execute(MYSQL).await.unwrap();
    let mongo = database(&space).await;
    mongo.collection("messages").insert_many(messages).await.unwrap();
    mongo.collection("message_read_status").insert_many(documents(lines(READ))).await.unwrap();
    let indexes: BTreeMap<String, Value> = serde_json::from_str(INDEXES).unwrap();
    for (collection, indexes) in indexes {
        for index in indexes.as_array().unwrap().iter().filter(|index| index["name"] != "_id_") {
            let name = index["name"].as_str().unwrap().to_owned();
            let keys = index["key"].as_array().unwrap().iter().filter_map(key);
            let keys: Document = keys.collect();
            let model = IndexModel::builder().keys(keys).options(IndexOptions::builder().name(name).build()).build();
            mongo.collection::<Document>(&collection).create_index(model).await.unwrap();
        }
    }
    (space, mysql_url)
}

/// A part of an index's key. A text index is listed by the server's own names for its parts.
fn key(part: &Value) -> Option<(String, Bson)> {
    match part[0].as_str().unwrap() {
        "_fts" => Some(("content".to_owned(), Bson::from("text"))),
        "_ftsx" => None,
        field => Some((field.to_owned(), serde_json::from_value(part[1].clone()).unwrap())),
    }
}

/// The original's messages of a room, in the order in which they get their positions.
fn original(room: i64) -> Vec<Value> {
    let mut messages: Vec<Value> = lines(MESSAGES).into_iter().filter(|message| message["room_id"] == room).collect();
    messages.sort_by_key(|message| {
        (message["created_at"]["$date"].to_string(), message["_id"]["$oid"].as_str().unwrap().to_owned())
    });
    messages
}

fn rooms() -> BTreeMap<i64, (i64, i64)> {
    let rows = MYSQL.lines().filter_map(|line| line.strip_prefix("INSERT INTO `chat_rooms`")?.split_once("VALUES ("));
    let ids = rows.map(|(_, values)| values.split(',').take(3).map(|id| id.parse().unwrap()).collect::<Vec<i64>>());
    ids.map(|ids| (ids[0], (ids[1], ids[2]))).collect()
}

async fn listed(person: &Person, room: i64) -> (Vec<Value>, i64) {
    let mut all = Vec::new();
    loop {
        let page = person.client.get(&format!("/messages/{room}?limit=100&skip={}", all.len())).await.expect(200);
        let older = page["messages"].as_array().unwrap().clone();
        all.splice(0..0, older);
        if page["has_more"] == false {
            return (all, page["total_count"].as_i64().unwrap());
        }
    }
}

fn unread_of(reader: i64, room: i64) -> i64 {
    let read: BTreeSet<String> = lines(READ)
        .into_iter()
        .filter(|row| row["user_id"] == reader)
        .map(|row| row["message_id"].as_str().unwrap().to_owned())
        .collect();
    let unread = original(room).into_iter().filter(|message| {
        message["user_id"] != reader
            && message["is_deleted"] == false
            && !read.contains(message["_id"]["$oid"].as_str().unwrap())
    });
    unread.count() as i64
}

#[tokio::test]
async fn two_replicas_at_once_take_over_all_rooms_messages_and_reads() {
    let (space, mysql_url) = left_by_the_original(documents(lines(MESSAGES))).await;
    let app = TestApp::start_in(space, &mysql_url, &[]).await;
    let other = app.replica().await;

    for (room, (one, two)) in rooms() {
        let (one, two) = (app.person(one), app.person_at(&other, two));
        let ((seen, total), (seen_elsewhere, _)) = tokio::join!(listed(&one, room), listed(&two, room));

        let all = original(room);
        let there: Vec<&Value> = all.iter().filter(|message| message["is_deleted"] == false).collect();
        let ids = |messages: &[Value]| messages.iter().map(|m| m["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&seen), there.iter().map(|m| m["_id"]["$oid"].clone()).collect::<Vec<_>>());
        assert_eq!((ids(&seen_elsewhere), total), (ids(&seen), there.len() as i64));
        for reader in [&one, &two] {
            assert_eq!(reader.unread(room).await, unread_of(reader.id, room), "{} in {room}", reader.id);
        }
        let next = one.says(room, "from the port").await;
        assert_eq!(next["seq"], all.len() as i64 + 1, "deleted ones have positions too");
        let mut stream = two.client.stream(&format!("/messages/stream/{room}"), Some("0")).await;
        stream.next().await;
        for (position, message) in (1..).zip(&all) {
            let event = stream.next().await;
            let content = if message["is_deleted"] == true { json!("") } else { message["content"].clone() };
            assert_eq!((event.id, &event.data["id"]), (position.to_string(), &message["_id"]["$oid"]));
            assert_eq!((&event.data["content"], &event.data["is_deleted"]), (&content, &message["is_deleted"]));
        }
        assert_eq!(stream.next().await.data["content"], "from the port");
    }
}

#[tokio::test]
async fn of_two_rooms_of_one_pair_the_older_is_theirs_and_both_stay_readable() {
    let (space, mysql_url) = left_by_the_original(documents(lines(MESSAGES))).await;
    let app = TestApp::start_in(space, &mysql_url, &[]).await;
    let (bob, carol) = (app.person(3108), app.person(3109));

    assert_eq!((bob.room_with(3109).await, carol.room_with(3108).await), (762, 762));
    for room in [762, 763] {
        let (seen, _) = listed(&bob, room).await;
        assert_eq!(seen.len(), original(room).iter().filter(|m| m["is_deleted"] == false).count());
        assert_eq!(carol.says(room, "still here").await["room_id"], room);
    }
    let list = bob.client.get("/chat-rooms").await.expect(200);
    let ids: BTreeSet<i64> = list.as_array().unwrap().iter().map(|room| room["id"].as_i64().unwrap()).collect();
    assert!(ids.is_superset(&BTreeSet::from([762, 763])));
}

#[tokio::test]
async fn a_long_history_is_numbered_once_by_two_replicas() {
    /// Twenty transactions, for which the two replicas compete. `tests/load/history` measures longer histories.
    const MANY: i64 = 20_000;
    let message = |n: i64| {
        let at = mongodb::bson::DateTime::from_millis(1_700_000_000_000 + n / 3);
        doc! {"user_id": 3095 + n % 2, "room_id": 764, "room_type": "private", "content": n.to_string(),
        "message_type": "text", "is_deleted": n % 10 == 0, "is_edited": false, "created_at": at, "updated_at": at}
    };
    let (space, mysql_url) = left_by_the_original((0..MANY).map(message).collect()).await;
    let app = TestApp::start_in(space, &mysql_url, &[]).await;
    let other = app.replica().await;

    let newest = async |server: &Server, id: i64| {
        let client = app.person_at(server, id).client;
        loop {
            let page = client.get("/messages/764?limit=1").await;
            if page.status != 503 {
                break page.expect(200);
            }
        }
    };
    let (here, there) = tokio::join!(newest(&app.server, 3095), newest(&other, 3096));

    assert_eq!((&here["position"], &here["total_count"]), (&json!(MANY), &json!(MANY - MANY / 10)));
    assert_eq!(here, there);
    let mongo = database(&app.space).await;
    let entries = mongo.collection::<Document>("room_log").count_documents(doc! {}).await.unwrap();
    let numbered = mongo.collection::<Document>("messages").distinct("seq", doc! {}).await.unwrap();
    assert_eq!((entries as i64, numbered.len() as i64), (MANY, MANY));
}
