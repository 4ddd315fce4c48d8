//! The retention of histories.

use mongodb::bson::{Document, doc};
use serde_json::json;
use testkit::eventually;

use crate::app::{TestApp, mongo_database};
use crate::person::pluck;

#[tokio::test]
async fn old_messages_and_their_entries_go_and_a_replay_from_before_them_is_a_resync() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let other_room = ann.room_with(3).await;
    let mut sent = Vec::new();
    for n in 0..6 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    ann.sends(other_room, "old, and the only one").await;
    bob.reads(room, &sent[..2]).await;
    let mongo = mongo_database(&app.space).await;
    let messages = mongo.collection::<Document>("messages");
    let age = vec![doc! {"$set": {"created_at": {"$subtract": ["$created_at", 3 * 24 * 3_600_000_i64]}}}];
    let old = doc! {"$or": [{"room_id": other_room}, {"room_id": room, "seq": {"$lte": 4}}]};
    messages.update_many(old, age).await.unwrap();
    let log = mongo.collection::<Document>("room_log");
    eventually("Kafka has all events", || async {
        (log.count_documents(doc! {"pending": {"$exists": true}}).await.unwrap() == 0).then_some(())
    })
    .await;
    let mut stream = bob.client.stream("/messages/stream", None).await;
    let start_of_all_rooms = stream.next().await.id;

    let settings = [&app.environment()[..], &[("HISTORY_RETENTION_DAYS", "2".to_owned())]].concat();
    let app = TestApp::start_in(app.space, app.mysql_url, &settings).await;
    let (ann, bob) = (app.person(1), app.person(2));
    let page = eventually("the old messages are removed", || async {
        let page = bob.client.get(&format!("/messages/{room}")).await.expect(200);
        (page["total_count"] == 2).then_some(page)
    })
    .await;

    assert_eq!(pluck(page["messages"].as_array().unwrap(), "content"), ["4", "5"]);
    assert_eq!((bob.unread(room).await, page["has_more"].clone()), (2, json!(false)));
    let entries = log.count_documents(doc! {"_id.room": room}).await.unwrap();
    assert_eq!(entries, 2);
    let rows = mongo.collection::<Document>("message_read_status").count_documents(doc! {}).await.unwrap();
    assert_eq!(rows, 0);
    eventually("the room without messages shows none", || async {
        let rooms = ann.rooms().await;
        rooms.iter().find(|room| room["id"] == other_room)?["last_message"].is_null().then_some(())
    })
    .await;

    for (id, first) in [("0", "resync"), ("3", "resync"), ("4", "new_message"), ("5", "new_message")] {
        let mut stream = bob.subscribes(room, Some(id)).await;
        assert_eq!(stream.next().await.name, first, "from {id}");
    }
    let mut all_rooms = bob.client.stream("/messages/stream", Some(&start_of_all_rooms)).await;
    assert_eq!(all_rooms.next().await.name, "connected");
    assert_eq!(ann.sends(room, "next").await["seq"], 7);
    assert_eq!(all_rooms.next_named("new_message").await.data["content"], "next");
}
