//! What has been read.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use testkit::{Events, Server};

use crate::app::TestApp;

fn ids(messages: &[Value]) -> Vec<&Value> {
    messages.iter().map(|message| &message["id"]).collect()
}

#[tokio::test]
async fn unread_are_the_messages_of_others_until_they_are_read() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(ann.says(room, &n.to_string()).await);
    }
    assert_eq!((ann.unread(room).await, bob.unread(room).await), (0, 5));

    let read = json!({"room_id": room, "message_ids": ids(&sent[1..3])});
    let answer = bob.client.post("/messages/read", read.clone()).await.expect(200);
    assert_eq!(answer, json!({"success": true, "read_count": 2, "message": "2 messages marked as read"}));
    assert_eq!(bob.client.post("/messages/read", read).await.expect(200)["read_count"], 0);
    assert_eq!(bob.unread(room).await, 3);

    let path = format!("/messages/{}", sent[4]["id"].as_str().unwrap());
    ann.client.delete(&path).await.expect(200);
    assert_eq!(bob.unread(room).await, 2);
    assert_eq!(bob.client.post("/messages/read", json!({"room_id": room})).await.expect(200)["read_count"], 2);
    assert_eq!(bob.unread(room).await, 0);
    ann.says(room, "more").await;
    assert_eq!(bob.unread(room).await, 1);
}

#[tokio::test]
async fn only_messages_of_the_room_are_read_in_it() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let elsewhere = app.person(3).room_with(2).await;
    let foreign = app.person(3).says(elsewhere, "x").await;
    let sent = ann.says(room, "y").await;
    let read = async |ids: Value| bob.client.post("/messages/read", json!({"room_id": room, "message_ids": ids})).await;

    assert_eq!(read(json!([])).await.expect(400)["message"], "Message IDs cannot be empty");
    let mixed = read(json!([sent["id"], foreign["id"]])).await.expect(400);
    assert_eq!(mixed["message"], "All messages must be from the same room");
    assert_eq!(read(json!(["0123456789abcdef01234567", "unknown"])).await.expect(200)["read_count"], 0);
    read(json!("x")).await.expect(422);
    bob.client.post("/messages/read", json!({})).await.expect(422);
    assert_eq!(bob.unread(room).await, 1);
}

#[tokio::test]
async fn a_read_is_told_once_to_readers_and_to_the_others_and_shown_in_listings() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let other = app.replica().await;
    until_it_hears(&app, &other).await;
    let path = format!("/messages/stream/{room}");
    let mut here = ann.client.stream(&path, None).await;
    let mut there = app.person_at(&other, ann.id).client.stream(&path, None).await;
    let sent = [ann.says(room, "one").await, ann.says(room, "two").await];

    bob.client.post("/messages/read", json!({"room_id": room})).await.expect(200);
    bob.client.post("/messages/read", json!({"room_id": room})).await.expect(200);
    ann.says(room, "three").await;

    for stream in [&mut here, &mut there] {
        let (mut read, mut heard_three) = (None, false);
        while read.is_none() || !heard_three {
            let event = stream.next().await;
            heard_three |= event.data["content"] == "three";
            if event.name == "messages_read" {
                assert!(read.replace(event).is_none(), "told twice");
            }
        }
        let read = read.unwrap();
        assert_eq!((&read.data["user_id"], &read.data["up_to"]), (&json!(2), &json!(2)));
        assert_eq!(read.data["message_ids"], json!(ids(&sent)));
    }
    let told = Events::of(&app.space.topics().message_events).expect("MessagesRead", 1).await;
    let told: Vec<_> = told.iter().filter(|event| event["room_id"] == room).collect();
    assert_eq!((told.len(), &told[0]["message_ids"]), (1, &json!(ids(&sent))));
    let seen_by_ann = ann.messages(room).await;
    assert_eq!((&seen_by_ann[1]["is_read"], &seen_by_ann[1]["read_by"]), (&json!(true), &json!([2])));
    assert_eq!((&seen_by_ann[2]["is_read"], &seen_by_ann[2]["read_by"]), (&json!(false), &json!([])));
}

/// What is only live does not come to a replica that has just begun to listen to the others.
async fn until_it_hears(app: &TestApp, replica: &Server) {
    let (cat, dan) = (app.person(3), app.person(4));
    let room = cat.room_with(dan.id).await;
    let path = format!("/messages/stream/{room}");
    let mut stream = app.person_at(replica, cat.id).client.stream(&path, None).await;
    for _ in 0..40 {
        cat.says(room, "do you hear?").await;
        dan.client.post("/messages/read", json!({"room_id": room})).await.expect(200);
        while let Some(event) = stream.next_within(Duration::from_millis(500)).await {
            if event.name == "messages_read" {
                return;
            }
        }
    }
    panic!("the replica hears nothing");
}

#[tokio::test]
async fn unread_are_counted_to_a_thousand_whoever_wrote_the_rest() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    for hundred in 0..11 {
        join_all((0..100).map(|n| ann.says(room, if n == hundred { "here" } else { "there" }))).await;
    }
    bob.says(room, "so much!").await;

    assert_eq!((bob.unread(room).await, ann.unread(room).await), (1_000, 1));
    let read = bob.client.post("/messages/read", json!({"room_id": room})).await.expect(200);
    assert_eq!((&read["read_count"], bob.unread(room).await), (&json!(1_000), 0));
}

async fn mark_of(app: &TestApp, room: i64, reader: i64) -> Document {
    let client = mongodb::Client::with_uri_str(app.space.mongo_url()).await.unwrap();
    let marks = client.database(&app.space.mongo_database()).collection("room_marks");
    marks.find_one(doc! {"_id": {"room": room, "user": reader}}).await.unwrap().unwrap()
}

#[tokio::test]
async fn reading_one_by_one_leaves_no_list_of_all_that_was_ever_read() {
    const LONG: usize = 64;
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let mut sent = Vec::new();
    for n in 0..200 {
        sent.push(ann.says(room, &n.to_string()).await);
    }
    let read = async |some: &[Value]| {
        let body = json!({"room_id": room, "message_ids": ids(some)});
        bob.client.post("/messages/read", body).await.expect(200)["read_count"].as_u64().unwrap()
    };
    for some in sent[..100].chunks(10) {
        assert_eq!(read(some).await, 10);
        assert_eq!(read(some).await, 0, "however the mark remembers them");
    }
    let mark = mark_of(&app, room, bob.id).await;
    assert!(mark.get_array("read").unwrap().len() <= LONG, "{mark}");
    assert!(mark.get_i64("up_to").unwrap() >= 70, "{mark}");
    assert_eq!(bob.unread(room).await, 100);

    for some in sent[101..].chunks(33) {
        assert_eq!(read(some).await, 33);
    }
    assert_eq!(bob.unread(room).await, 1, "the mark stops at what is not read");
    assert_eq!(read(&sent[100..101]).await, 1);
    assert_eq!((bob.unread(room).await, read(&sent).await), (0, 0));
    let mark = mark_of(&app, room, bob.id).await;
    assert_eq!((mark.get_i64("up_to").unwrap(), mark.get_array("read").unwrap().len()), (200, 0));
}
