//! An original that writes to the stores again: while it ends its last requests at the switch, and after a return to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use engines::kafka::record::Record;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use testkit::{Event, Server, Sse, eventually};

use crate::app::{TestApp, mongo_database};
use crate::person::{Person, message_path, pluck, read_log};
use crate::takeover::{READ, documents, lines, original_messages, original_unread, take_over};

const EVENTS: &str = include_str!("../fixtures/original/events.jsonl");

const ROOM: i64 = 768;
const KIM: i64 = 3095;
const JUNG: i64 = 3099;

/// The messages of the fixture that exist at the first look. The original writes the others later.
const TAKEN_OVER: usize = 40;

/// The original, which writes to the stores and publishes its events.
struct Original<'a> {
    app: &'a TestApp,
    mongo: Database,
}

impl Original<'_> {
    fn messages(&self) -> mongodb::Collection<Document> {
        self.mongo.collection("messages")
    }

    /// Stores messages, and publishes their events as the original did.
    async fn writes(&self, messages: &[Value]) {
        self.messages().insert_many(documents(messages.to_vec())).await.unwrap();
        let ids = pluck(&pluck(messages, "_id"), "$oid");
        for event in lines(EVENTS).iter().filter(|event| ids.contains(&event["value"]["message_id"])) {
            self.publishes(&event["value"]).await;
        }
    }

    /// Stores a message without an event: the original ignores the errors of Kafka.
    async fn writes_silently(&self, user: i64, content: &str) -> ObjectId {
        let message = doc! {"_id": ObjectId::new(), "user_id": user, "room_id": ROOM, "room_type": "private",
        "content": content, "message_type": "text", "is_deleted": false, "is_edited": false,
        "created_at": DateTime::now(), "updated_at": DateTime::now()};
        self.messages().insert_one(&message).await.unwrap();
        message.get_object_id("_id").unwrap()
    }

    /// Deletes a message without an event.
    async fn deletes_silently(&self, id: ObjectId, by: i64) {
        let deleted = doc! {"is_deleted": true, "deleted_at": DateTime::now(), "deleted_by": by};
        let updated = self.messages().update_one(doc! {"_id": id}, doc! {"$set": deleted}).await.unwrap();
        assert_eq!(updated.modified_count, 1);
    }

    async fn deletes(&self, id: ObjectId, by: i64) {
        self.deletes_silently(id, by).await;
        let event = json!({"timestamp": "2026-11-24T13:09:17.194782", "message_id": id.to_hex(), "room_id": ROOM,
            "deleted_by": by, "__event_type__": "MessageDeleted"});
        self.publishes(&event).await;
    }

    async fn reads(&self, id: ObjectId, reader: i64) {
        let row = doc! {"message_id": id.to_hex(), "user_id": reader, "room_id": ROOM, "read_at": DateTime::now()};
        self.mongo.collection::<Document>("message_read_status").insert_one(row).await.unwrap();
    }

    async fn publishes(&self, event: &Value) {
        let topic = self.app.space.topics().message_events;
        let record = Record { topic, key: ROOM.to_string(), payload: event.to_string().into(), headers: Vec::new() };
        self.app.produce(record).await;
    }
}

fn object_id(id: &Value) -> ObjectId {
    id.as_str().unwrap().parse().unwrap()
}

/// The next logged events of a stream.
async fn next_logged(stream: &mut Sse, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = stream.next().await;
        if !event.id.is_empty() {
            events.push(event);
        }
    }
    events
}

/// Asserts that both streams show new messages with these ids at these positions, in order and once.
async fn assert_new(streams: &mut [Sse; 2], first: usize, ids: &[Value]) {
    for stream in streams {
        for (position, (event, id)) in (first..).zip(next_logged(stream, ids.len()).await.iter().zip(ids)) {
            assert_eq!((&*event.name, &event.data["id"], &event.data["seq"]), ("new_message", id, &json!(position)));
        }
    }
}

/// Asserts that both streams show the deletions of these messages, in any order.
async fn assert_deleted(streams: &mut [Sse; 2], ids: &[ObjectId]) {
    let expected: BTreeSet<String> = ids.iter().map(|id| id.to_hex()).collect();
    for stream in streams {
        let events = next_logged(stream, ids.len()).await;
        assert!(events.iter().all(|event| event.name == "message_deleted"), "{events:?}");
        let deleted = events.iter().map(|event| event.data["message_id"].as_str().unwrap().to_owned());
        assert_eq!(deleted.collect::<BTreeSet<_>>(), expected);
    }
}

/// Waits until the reader sees this total and this number of unread messages, in the list and in the room list.
async fn settles_at(reader: &Person, total: usize, unread: i64) {
    eventually(&format!("{total} messages, {unread} of them unread"), || async {
        let page = reader.client.get(&format!("/messages/{ROOM}?limit=100")).await.expect(200);
        let listed = page["messages"].as_array().unwrap().len();
        let rooms = reader.rooms().await;
        let room = rooms.iter().find(|room| room["id"] == ROOM).unwrap();
        let last = page["messages"].as_array().unwrap().last().unwrap();
        let counts = (&page["total_count"], &room["unread_count"], &room["last_message"]["id"]);
        let settled = counts == (&json!(total), &json!(unread), &last["id"]) && listed == total;
        (settled && reader.unread(ROOM).await == unread).then_some(())
    })
    .await;
}

#[tokio::test]
async fn readers_follow_an_original_that_writes_deletes_and_reads_again() {
    let messages = original_messages(ROOM);
    let (taken_over, later) = messages.split_at(TAKEN_OVER);
    let app = take_over(documents(taken_over.to_vec())).await;
    app.space.create_topics().await;
    let replica = app.replica().await;
    let original = Original { app: &app, mongo: mongo_database(&app.space).await };
    let at = |server: &Server| [app.person_at(server, KIM), app.person_at(server, JUNG)];
    let ([kim, _], [_, jung]) = (at(&app.server), at(&replica));
    let is_kept = |message: &&Value| message["is_deleted"] == false;
    let kept = taken_over.iter().filter(is_kept).count();
    assert_eq!(kim.client.get(&format!("/messages/{ROOM}")).await.expect(200)["total_count"], kept);
    let all_rooms = jung.client.stream("/messages/stream", None).await;
    let mut streams = [kim.subscribes(ROOM, None).await, all_rooms];
    assert_eq!(streams[1].next().await.name, "connected");

    // Requests that the original ends after the switch, next to one of ours.
    let ours = jung.sends(ROOM, "ours").await;
    assert_new(&mut streams, TAKEN_OVER + 1, &[ours["id"].clone()]).await;
    original.writes(later).await;
    assert_new(&mut streams, TAKEN_OVER + 2, &pluck(&pluck(later, "_id"), "$oid")).await;
    let kept = kept + 1 + later.iter().filter(is_kept).count();
    let unread = original_unread(KIM, ROOM) + 1;
    for reader in at(&app.server).iter().chain(&at(&replica)).filter(|reader| reader.id == KIM) {
        settles_at(reader, kept, unread).await;
    }

    // The gateway routes to the original for a while. Both messages of JUNG that it deletes are unread.
    let newest = object_id(&later.last().unwrap()["_id"]["$oid"]);
    let is_read = |message: &Value| READ.contains(message["_id"]["$oid"].as_str().unwrap());
    let read = later.iter().filter(is_kept).find(|message| message["user_id"] == JUNG && !is_read(message)).unwrap();
    let silent = original.writes_silently(JUNG, "nobody hears of this").await;
    assert_new(&mut streams, messages.len() + 2, &[json!(silent.to_hex())]).await;
    let deleted = [object_id(&ours["id"]), silent, newest];
    original.deletes(deleted[0], JUNG).await;
    original.deletes(deleted[1], JUNG).await;
    original.deletes(deleted[2], KIM).await;
    assert_deleted(&mut streams, &deleted).await;
    original.reads(object_id(&read["_id"]["$oid"]), KIM).await;
    settles_at(&kim, kept - 2, unread - 2).await;

    // Ours again, and the original once more while none of our replicas runs.
    let again = jung.sends(ROOM, "ours again").await;
    let position = messages.len() + 6;
    assert_new(&mut streams, position, &[again["id"].clone()]).await;
    app.server.stop().await;
    replica.stop().await;
    drop(streams);
    let silent = original.writes_silently(JUNG, "after the return").await;
    original.deletes(object_id(&again["id"]), JUNG).await;
    original.reads(silent, KIM).await;

    let (one, two) = (app.replica().await, app.replica().await);
    let [kim, jung] = [app.person_at(&one, KIM), app.person_at(&two, JUNG)];
    let since = Some(position.to_string());
    let since = since.as_deref();
    let mut streams = [kim.subscribes(ROOM, since).await, jung.subscribes(ROOM, since).await];
    for stream in &mut streams {
        let names: BTreeSet<String> = next_logged(stream, 2).await.into_iter().map(|event| event.name).collect();
        assert_eq!(names, BTreeSet::from(["message_deleted".to_owned(), "new_message".to_owned()]));
    }
    settles_at(&kim, kept - 1, unread - 2).await;
    settles_at(&jung, kept - 1, jung.unread(ROOM).await).await;
    let log = async |reader: &Person| -> Vec<Value> {
        read_log(&reader.client, ROOM).await.into_iter().map(|event| event.data).collect()
    };
    let (local, remote) = (log(&kim).await, log(&jung).await);
    assert_eq!((local.len(), &local), (position + 2, &remote));
}

#[tokio::test]
async fn deletions_and_reads_of_the_original_are_followed_without_an_event_and_without_a_stream() {
    let app = take_over(documents(original_messages(ROOM))).await;
    let original = Original { app: &app, mongo: mongo_database(&app.space).await };
    let (kim, jung) = (app.person(KIM), app.person(JUNG));
    let total = total(&kim).await;
    let mut sent = Vec::new();
    for content in ["deleted", "read", "unread"] {
        sent.push(object_id(&jung.sends(ROOM, content).await["id"]));
    }

    original.deletes_silently(sent[0], JUNG).await;
    original.reads(sent[1], KIM).await;

    settles_at(&kim, total + 2, original_unread(KIM, ROOM) + 1).await;
}

/// The number of messages that the room's page states.
async fn total(reader: &Person) -> usize {
    let page = reader.client.get(&format!("/messages/{ROOM}")).await.expect(200);
    page["total_count"].as_u64().unwrap() as usize
}

/// The newest message of the fixture that is not deleted, and the others. Its id is older than the takeover.
fn without_one() -> (Value, Vec<Value>) {
    let mut messages = original_messages(ROOM);
    let newest = messages.iter().rposition(|message| message["is_deleted"] == false).unwrap();
    (messages.remove(newest), messages)
}

#[tokio::test]
async fn a_message_with_an_id_from_before_the_takeover_is_found_when_its_room_is_used() {
    let (late, others) = without_one();
    let app = take_over(documents(others)).await;
    let kim = app.person(KIM);
    let total_before = total(&kim).await;

    mongo_database(&app.space).await.collection("messages").insert_many(documents(vec![late])).await.unwrap();

    eventually("the message is listed", async || (total(&kim).await == total_before + 1).then_some(())).await;
}

#[tokio::test]
async fn a_message_with_an_id_from_before_the_takeover_reaches_the_streams_of_its_room() {
    let (late, others) = without_one();
    let position = others.len() as i64 + 1;
    let app = take_over(documents(others)).await;
    let mut stream = app.person(KIM).subscribes(ROOM, None).await;

    mongo_database(&app.space).await.collection("messages").insert_many(documents(vec![late.clone()])).await.unwrap();

    let event = stream.next_named("new_message").await;
    assert_eq!((&event.data["id"], event.position()), (&late["_id"]["$oid"], position));
}

#[tokio::test]
async fn an_event_of_the_original_is_a_hint_that_does_not_wait_for_the_next_look() {
    // After a look that has found a message, the next one comes two seconds later.
    const SOON: Duration = Duration::from_secs(1);
    let app = take_over(documents(original_messages(ROOM))).await;
    app.space.create_topics().await;
    let original = Original { app: &app, mongo: mongo_database(&app.space).await };
    let mut stream = app.person(KIM).subscribes(ROOM, None).await;
    let mut delays = Vec::new();

    // The replica misses the events of the time before it follows the new topic.
    while !delays.ends_with(&[true; 3]) {
        assert!(delays.len() < 20, "{delays:?}");
        let written = Instant::now();
        let id = original.writes_silently(JUNG, "hello").await.to_hex();
        let event = json!({"timestamp": "2026-11-24T13:09:17.194782", "message_id": id, "room_id": ROOM, "user_id": JUNG,
            "username": "jung", "content": "hello", "message_type": "text", "__event_type__": "MessageSent"});
        original.publishes(&event).await;
        assert_eq!(stream.next_named("new_message").await.data["id"], id);
        delays.push(written.elapsed() < SOON);
    }
}

/// Removes the marks of deletions, which earlier releases do not set.
async fn remove_marks(mongo: &Database) {
    let unmark = doc! {"$unset": {"deletion_logged": ""}};
    mongo.collection::<Document>("messages").update_many(doc! {"is_deleted": true}, unmark).await.unwrap();
}

async fn until_marked(mongo: &Database) {
    let unmarked = doc! {"is_deleted": true, "deletion_logged": null};
    let messages = mongo.collection::<Document>("messages");
    eventually("all deletions have a mark", async || {
        (messages.count_documents(unmarked.clone()).await.unwrap() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deletion_by_an_earlier_release_is_not_logged_a_second_time() {
    let app = take_over(documents(original_messages(ROOM))).await;
    let (kim, mongo) = (app.person(KIM), mongo_database(&app.space).await);
    let deleted = kim.sends(ROOM, "deleted").await;
    kim.client.delete(&message_path(&deleted)).await.expect(200);
    let before = (total(&kim).await, read_log(&kim.client, ROOM).await.len());

    let id = doc! {"_id": object_id(&deleted["id"])};
    let unmark = doc! {"$unset": {"deletion_logged": ""}};
    mongo.collection::<Document>("messages").update_one(id, unmark).await.unwrap();
    until_marked(&mongo).await;

    assert_eq!((total(&kim).await, read_log(&kim.client, ROOM).await.len()), before);
}

#[tokio::test]
async fn the_first_start_after_an_earlier_release_logs_no_old_deletion() {
    let app = take_over(documents(original_messages(ROOM))).await;
    let (kim, mongo) = (app.person(KIM), mongo_database(&app.space).await);
    let before = (total(&kim).await, read_log(&kim.client, ROOM).await.len());
    app.server.stop().await;
    mongo.collection::<Document>("messages").drop_index("unlogged_deletions").await.unwrap();
    remove_marks(&mongo).await;

    let replica = app.replica().await;
    until_marked(&mongo).await;

    let kim = app.person_at(&replica, KIM);
    assert_eq!((total(&kim).await, read_log(&kim.client, ROOM).await.len()), before);
}

#[tokio::test]
async fn a_deletion_by_the_original_before_the_index_exists_is_followed() {
    let app = take_over(documents(original_messages(ROOM))).await;
    let original = Original { app: &app, mongo: mongo_database(&app.space).await };
    let (kim, jung) = (app.person(KIM), app.person(JUNG));
    let total = total(&kim).await;
    let sent = object_id(&jung.sends(ROOM, "deleted").await["id"]);

    original.mongo.collection::<Document>("messages").drop_index("unlogged_deletions").await.unwrap();
    original.deletes_silently(sent, JUNG).await;
    let replica = app.replica().await;

    settles_at(&app.person_at(&replica, KIM), total, original_unread(KIM, ROOM)).await;
}
