//! A log with missing entries or messages: no reader passes over a gap in silence, and none is frozen by it.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Document, doc};
use serde_json::Value;
use testkit::Sse;

use crate::app::{TestApp, mongo_database};
use crate::large_group::profiled;

/// Removes messages from the store, as an operator does.
async fn remove_messages(app: &TestApp, messages: &[&Value]) {
    let ids: Vec<ObjectId> = messages.iter().map(|m| ObjectId::parse_str(m["id"].as_str().unwrap()).unwrap()).collect();
    let all = mongo_database(&app.space).await.collection::<Document>("messages");
    assert_eq!(all.delete_many(doc! {"_id": {"$in": ids}}).await.unwrap().deleted_count, messages.len() as u64);
}

/// The next `n` events: the content of a new message, or else the name of the event.
async fn next_events(stream: &mut Sse, n: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..n {
        let event = stream.next().await;
        let deleted = event.data["is_deleted"] == true;
        events.push(match event.data["content"].as_str() {
            Some(content) if !deleted => content.to_owned(),
            Some(content) => format!("deleted{content}"),
            None => event.name,
        });
    }
    events
}

#[tokio::test]
async fn a_message_that_an_operator_removed_is_told_as_deleted_and_freezes_nobody() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, bob.id);
    let mut all_rooms = bob_at_replica.client.stream("/messages/stream", None).await;
    assert_eq!(all_rooms.next().await.name, "connected");
    let mut live = bob_at_replica.subscribes(room, None).await;

    // Without Kafka, the replica finds the messages two seconds later.
    let sent = [ann.sends(room, "1").await, ann.sends(room, "2").await, ann.sends(room, "3").await];
    ann.client.delete(&crate::person::message_path(&sent[0])).await.expect(200);
    remove_messages(&app, &[&sent[0], &sent[1]]).await;

    let mut replayed = bob.subscribes(room, Some("0")).await;
    assert_eq!(next_events(&mut replayed, 4).await, ["deleted", "deleted", "3", "message_deleted"]);
    for stream in [&mut live, &mut all_rooms] {
        // The replica may have read the heads before the messages were removed.
        assert_eq!(next_events(stream, 4).await[2..], ["3", "message_deleted"]);
    }
    ann.sends(room, "4").await;
    for stream in [&mut live, &mut replayed, &mut all_rooms] {
        assert_eq!(next_events(stream, 1).await, ["4"]);
    }
}

#[tokio::test]
async fn a_missing_entry_leads_to_resync_and_the_stream_continues() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let cursor = bob.client.stream("/messages/stream", None).await.next().await.id;
    for n in 1..=5 {
        ann.sends(room, &n.to_string()).await;
    }
    let log = mongo_database(&app.space).await.collection::<Document>("room_log");
    let third = doc! {"_id": {"room": room, "at": 3_i64}};
    assert_eq!(log.delete_one(third).await.unwrap().deleted_count, 1);

    let mut in_room = bob.subscribes(room, Some("0")).await;
    let mut in_all = bob.client.stream("/messages/stream", Some(&cursor)).await;
    assert_eq!(in_all.next().await.name, "connected");

    for stream in [&mut in_room, &mut in_all] {
        assert_eq!(next_events(stream, 3).await, ["1", "2", "resync"]);
    }
    ann.sends(room, "6").await;
    for stream in [&mut in_room, &mut in_all] {
        assert_eq!(next_events(stream, 1).await, ["6"]);
    }
}

#[tokio::test]
async fn live_readers_of_a_missing_entry_get_resync_and_what_follows() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "1").await;
    let replica = app.replica().await;
    let mut live = app.person_at(&replica, bob.id).subscribes(room, None).await;

    // The entry at position 2 does not exist.
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    heads.update_one(doc! {"_id": room}, doc! {"$inc": {"position": 1_i64}}).await.unwrap();
    ann.sends(room, "3").await;

    assert_eq!(next_events(&mut live, 1).await, ["resync"]);
    ann.sends(room, "4").await;
    assert_eq!(next_events(&mut live, 1).await, ["4"]);
}

#[tokio::test]
async fn an_entry_that_becomes_visible_late_is_waited_for() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    for content in ["1", "2"] {
        ann.sends(room, content).await;
    }
    let log = mongo_database(&app.space).await.collection::<Document>("room_log");
    let second = doc! {"_id": {"room": room, "at": 2_i64}};
    let entry = log.find_one_and_delete(second).await.unwrap().unwrap();

    let mut stream = bob.subscribes(room, Some("1")).await;
    // The reader has not found the entry then, and looks for it for three seconds more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    log.insert_one(entry).await.unwrap();

    assert_eq!(next_events(&mut stream, 1).await, ["2"]);
}

#[tokio::test]
async fn a_majority_is_asked_before_a_client_is_told_resync() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut all_rooms = bob.client.stream("/messages/stream", None).await;
    ann.sends(room, "1").await;
    let cursor = all_rooms.next_named("new_message").await.id;
    // As a new primary shows it that does not know yet what a majority has.
    let mongo = mongo_database(&app.space).await;
    let heads = mongo.collection::<Document>("room_heads");
    heads.update_one(doc! {"_id": room}, doc! {"$inc": {"position": -1_i64}}).await.unwrap();
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, bob.id);

    for (path, id) in [(format!("/messages/stream/{room}"), "1"), ("/messages/stream".to_owned(), cursor.as_str())] {
        let resumed = async {
            bob_at_replica.client.stream(&path, Some(id)).await.next_named("resync").await;
        };
        let reads = profiled(&mongo, "room_heads", resumed).await;
        let concern = |read: &Document| {
            read.get_document("command")?.get_document("readConcern")?.get_str("level").map(str::to_owned)
        };
        let concerns: Vec<_> = reads.iter().filter_map(|read| concern(read).ok()).collect();
        assert!(concerns.iter().any(|concern| concern == "linearizable"), "{path}: {concerns:?}");
    }
}

#[tokio::test]
async fn the_read_preference_of_the_url_does_not_matter() {
    let space = testkit::Space::new();
    let hello = mongo_database(&space).await.run_command(doc! {"hello": 1}).await.unwrap();
    if !space.mongo_url().contains(hello.get_str("primary").unwrap()) {
        return testkit::skip("the members of the replica set have names of another network");
    }
    // A direct connection has no preference.
    let url = space.mongo_url().replace("&directConnection=true", "");
    let secondary = format!("{url}&readPreference=secondary");
    let app = TestApp::start_with(&[("MONGO_URL", secondary)]).await;
    let (ann, bob, room) = app.direct_room().await;

    ann.sends(room, "1").await;

    let mut stream = bob.subscribes(room, Some("0")).await;
    assert_eq!(next_events(&mut stream, 1).await, ["1"]);
}
