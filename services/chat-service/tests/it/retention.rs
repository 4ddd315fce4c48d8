//! The retention of histories.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, Uuid, doc};
use serde_json::{Value, json};
use testkit::eventually;

use crate::app::{TestApp, mongo_database};
use crate::person::{message_path, pluck};

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
    ann.client.delete(&message_path(&sent[2])).await.expect(200);
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
    // Of the third message, the event is not published yet.
    let unpublished = doc! {"$set": {"event_id": Uuid::from_bytes(uuid::Uuid::now_v7().into_bytes()),
    "pending": {"payload": "{}", "request_id": Bson::Null, "traceparent": Bson::Null}}};
    log.update_one(doc! {"_id": {"room": room, "at": 3_i64}}, unpublished).await.unwrap();
    let unlisted = mongo.collection::<Document>("message_reactions");
    let reaction = |message: &Value| {
        let message = ObjectId::parse_str(message["id"].as_str().unwrap()).unwrap();
        doc! {"_id": {"message": message, "emoji": "👍", "user": 9_i64}}
    };
    unlisted.insert_many([reaction(&sent[0]), reaction(&sent[3]), reaction(&sent[4])]).await.unwrap();
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
    let entries = log.find(doc! {"_id.room": room}).sort(doc! {"_id": 1}).await.unwrap();
    let entries: Vec<Document> = entries.try_collect().await.unwrap();
    let positions: Vec<i64> =
        entries.iter().map(|entry| entry.get_document("_id").unwrap().get_i64("at").unwrap()).collect();
    assert_eq!(positions, [3, 5, 6, 7], "the entry whose event is not published stays");
    assert_eq!(unlisted.distinct("_id", doc! {}).await.unwrap(), [reaction(&sent[4]).get("_id").unwrap().clone()]);
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
    assert_eq!(ann.sends(room, "next").await["seq"], 8);
    assert_eq!(all_rooms.next_named("new_message").await.data["content"], "next");
}

#[tokio::test]
async fn events_of_reads_expire_after_a_day_and_positions_of_streams_after_a_week() {
    let app = TestApp::start().await;
    let mongo = mongo_database(&app.space).await;
    app.person(1).rooms().await;

    // The positions are kept for an hour more than the ids that name them.
    for (collection, hours) in [("room_reads", 24), ("stream_snapshots", 7 * 24 + 1)] {
        let indexes = mongo.collection::<Document>(collection).list_indexes().await.unwrap();
        let indexes: Vec<IndexModel> = indexes.try_collect().await.unwrap();
        let expiry = indexes.into_iter().find_map(|index| Some((index.keys, index.options?.expire_after?)));
        assert_eq!(expiry, Some((doc! {"at": 1}, Duration::from_secs(hours * 3_600))), "{collection}");
    }
}
