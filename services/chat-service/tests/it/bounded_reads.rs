//! The reads of a request cost what its answer holds, whatever else the room holds, and end after a time.

use std::ops::RangeInclusive;

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use reqwest::Method;
use serde_json::json;
use testkit::eventually;

use crate::app::{TestApp, mongo_database};
use crate::large_group::profiled;
use crate::person::{Person, message_path};

/// The messages that a read must pass over.
const PASSED_OVER: i64 = 5_000;

/// Limit on the keys and documents that a page, a count or a read examines in all its queries.
const EXAMINED: i64 = 500;

/// Stores messages of one sender at these positions of a room.
async fn fill(mongo: &Database, room: i64, positions: RangeInclusive<i64>, sender: i64, deleted: bool) {
    let (count, last) = (positions.clone().count() as i64, *positions.end());
    let message = |seq: i64| {
        let at = DateTime::from_millis(1_700_000_000_000 + seq);
        let mut message = doc! {
            "user_id": sender, "room_id": room, "room_type": "direct", "content": seq.to_string(), "seq": seq,
            "message_type": "text", "created_at": at, "updated_at": at, "is_deleted": deleted,
        };
        if deleted {
            message.extend(doc! {"deleted_at": at, "deleted_by": sender, "deletion_logged": true});
        }
        message
    };
    mongo.collection::<Document>("messages").insert_many(positions.map(message)).await.unwrap();
    let counts = doc! {"messages": count, "deleted": if deleted { count } else { 0 }};
    let head = doc! {"$set": {"position": last}, "$inc": counts};
    mongo.collection::<Document>("room_heads").update_one(doc! {"_id": room}, head).await.unwrap();
}

/// The keys and documents of `messages` that the server examines for an action.
async fn examined(mongo: &Database, action: impl Future) -> i64 {
    let entries = profiled(mongo, "messages", action).await;
    assert!(!entries.is_empty(), "the action reads no message");
    let number = |entry: &Document, field| entry.get_i32(field).map_or(0, i64::from);
    entries.iter().map(|entry| number(entry, "keysExamined") + number(entry, "docsExamined")).sum()
}

async fn lists(person: &Person, room: i64) {
    assert!(person.messages(room).await.len() <= 2);
}

#[tokio::test]
async fn deleted_messages_cost_a_deletion_a_page_and_a_count_nothing() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mongo = mongo_database(&app.space).await;
    ann.sends(room, "kept").await;
    fill(&mongo, room, 2..=PASSED_OVER + 1, ann.id, true).await;
    let newest = ann.sends(room, "newest").await;

    let deletion = examined(&mongo, async { ann.client.delete(&message_path(&newest)).await.expect(200) }).await;
    assert_eq!(ann.rooms().await[0]["last_message"]["content"], "kept");
    let page = examined(&mongo, lists(&bob, room)).await;
    let count = examined(&mongo, async { assert_eq!(bob.unread(room).await, 1) }).await;
    // The first replica remembers the count.
    let replica = app.replica().await;
    let elsewhere = app.person_at(&replica, bob.id);
    let total = examined(&mongo, async { elsewhere.client.get("/chat-rooms/unread").await.expect(200) }).await;
    let read = examined(&mongo, async { assert_eq!(bob.reads_all(room).await["read_count"], 1) }).await;
    for (what, examined) in [("deletion", deletion), ("page", page), ("count", count), ("total", total), ("read", read)]
    {
        assert!(examined < EXAMINED, "the {what} examines {examined} keys and documents");
    }
}

#[tokio::test]
async fn own_and_deleted_messages_cost_the_count_of_a_group_nothing() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&[2, 3]).await;
    let mongo = mongo_database(&app.space).await;
    let bob = app.person(2);
    ann.sends(group, "for all").await;
    fill(&mongo, group, 2..=PASSED_OVER + 1, bob.id, false).await;
    fill(&mongo, group, PASSED_OVER + 2..=2 * PASSED_OVER + 1, 3, true).await;

    let count = examined(&mongo, async { assert_eq!(bob.unread(group).await, 1) }).await;
    assert!(count < EXAMINED, "the count examines {count} keys and documents");
    // Of the first read, the reader's own messages may be a part.
    assert_eq!(bob.reads_all(group).await["read_count"], 1);
    let read = examined(&mongo, async { assert_eq!(bob.reads_all(group).await["read_count"], 0) }).await;
    assert!(read < EXAMINED, "the second read examines {read} keys and documents");
}

#[tokio::test]
async fn a_read_that_finds_nothing_unread_advances_the_marker() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let mongo = mongo_database(&app.space).await;
    for content in ["1", "2"] {
        ann.sends(room, content).await;
    }

    assert_eq!(ann.reads_all(room).await["read_count"], 0);

    let of_ann = doc! {"_id": {"room": room, "user": ann.id}};
    let marker = mongo.collection::<Document>("room_marks").find_one(of_ann).await.unwrap().expect("a marker");
    assert_eq!(marker.get_i64("up_to").unwrap(), 2);
    let events = mongo.collection::<Document>("room_reads").count_documents(doc! {}).await.unwrap();
    assert_eq!(events, 0, "nothing was unread, so there is no event");
}

#[tokio::test]
async fn a_start_builds_the_indexes_and_drops_those_that_they_replace() {
    let app = TestApp::start().await;
    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    let of_an_earlier_release = doc! {
        "createIndexes": "messages",
        "indexes": [{
            "key": {"room_id": 1, "user_id": 1, "seq": 1, "is_deleted": 1, "message_type": 1}, "name": "room_sender_seq",
        }],
    };
    mongo_database(&app.space).await.run_command(of_an_earlier_release).await.unwrap();
    let _ = messages.drop_index("room_kept_seq").await;

    let _replica = app.replica().await;

    eventually("the indexes are those of this release", || async {
        let names = messages.list_index_names().await.unwrap();
        let has = |name: &str| names.iter().any(|other| other == name);
        (has("room_kept_seq") && has("room_kept_sender_seq") && has("room_seq") && !has("room_sender_seq"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_server_ends_the_reads_of_requests_after_two_seconds() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mongo = mongo_database(&app.space).await;
    let sent = ann.sends(room, "x").await;
    let requests = async {
        bob.unread(room).await;
        bob.messages(room).await;
        bob.reads_all(room).await;
        let search = bob.client.request(Method::GET, "/messages/search").query(&[("q", "x")]);
        bob.client.send(search).await.expect(200);
        bob.rooms().await;
        let mut stream = bob.subscribes(room, Some("0")).await;
        assert_eq!(stream.next_named("new_message").await.data["id"], sent["id"]);
    };
    mongo.run_command(doc! {"profile": 2}).await.unwrap();
    requests.await;
    mongo.run_command(doc! {"profile": 0}).await.unwrap();

    let profile = mongo.collection::<Document>("system.profile");
    let collections = ["messages", "room_heads", "room_log", "room_marks"];
    let names: Vec<String> = collections.iter().map(|name| format!("{}.{name}", mongo.name())).collect();
    // Background tasks name an index, ask for pending events or count them, or look for unnumbered messages and owed reads.
    let of_requests = doc! {
        "$nor": [{"ns": &names[2], "command.aggregate": {"$exists": true}}],
        "ns": {"$in": &names}, "op": {"$in": ["query", "command"]}, "command.hint": null, "command.filter.pending": null,
        "command.filter.reads_owed": null,
        "command.filter.seq": {"$not": {"$type": "null"}}, "command.update": null,
        "$or": [{"command.find": {"$exists": true}}, {"command.aggregate": {"$exists": true}}],
    };
    let entries: Vec<Document> = profile.find(of_requests).await.unwrap().try_collect().await.unwrap();
    assert!(entries.len() >= 8, "{entries:?}");
    for entry in entries {
        let command = entry.get_document("command").unwrap();
        let limit = command.get("maxTimeMS").and_then(|limit| limit.as_i64().or(limit.as_i32().map(i64::from)));
        assert_eq!(limit, Some(2_000), "{command:?}");
    }
}

#[tokio::test]
async fn a_page_skips_at_most_ten_thousand_messages() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let last = ann.client.get(&format!("/messages/{room}?skip=10000")).await.expect(200);
    assert_eq!(last["messages"], json!([]));
    for path in [format!("/messages/{room}?skip=10001"), format!("/messages?room_id={room}&offset=10001")] {
        ann.client.get(&path).await.expect(422);
    }
}
