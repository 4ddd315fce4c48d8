//! Overdue events, which a crash or an outage left in the outbox.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use serde_json::json;
use testkit::{Events, eventually};
use uuid::{NoContext, Timestamp, Uuid};

use crate::app::{TestApp, mongo_database};

/// Brokers accept records of at most 1 MB.
const OVERSIZED: usize = 2_000_000;

/// An entry of a room's log whose event has been pending for a minute.
fn overdue(room: i64, position: i64, content: &str) -> Document {
    let at = chrono::Utc::now() - Duration::from_secs(60);
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, at.timestamp().unsigned_abs(), position as u32));
    let payload = json!({
        "event_type": "MessageSent", "event_id": id, "message_id": "0123456789abcdef01234567", "room_id": room,
        "user_id": 1, "username": "ann", "content": content, "message_type": "text", "seq": position,
        "position": position, "timestamp": at,
    });
    doc! {
        "_id": {"room": room, "at": position},
        "kind": "sent",
        "message_id": mongodb::bson::oid::ObjectId::new(),
        "by": 1_i64,
        "event_id": mongodb::bson::Uuid::from_bytes(id.into_bytes()),
        "pending": {"payload": payload.to_string(), "request_id": Bson::Null, "traceparent": Bson::Null},
    }
}

#[tokio::test]
async fn an_oversized_event_becomes_a_dead_letter_and_stops_no_other() {
    const OTHER_ROOM: i64 = 900_001;
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (_, _, room) = app.direct_room().await;
    let log = mongo_database(&app.space).await.collection::<Document>("room_log");
    let entries =
        [overdue(room, 1, &"x".repeat(OVERSIZED)), overdue(room, 2, "behind it"), overdue(OTHER_ROOM, 3, "elsewhere")];
    log.insert_many(entries).await.unwrap();

    let topic = app.space.topics().message_events;
    let published = Events::of(&topic).expect("MessageSent", 2).await;
    assert!(published.iter().all(|event| event["content"] != "x"), "{published:?}");
    let reasons = eventually("the dead letter has its reason", || async {
        let reasons = Events::of(&format!("{topic}.dlq")).headers("x-dlq-reason").await;
        (!reasons.is_empty()).then_some(reasons)
    })
    .await;
    assert!(reasons.len() == 1 && reasons[0].contains("too large"), "{reasons:?}");
    eventually("nothing is pending", || async {
        let pending = log.count_documents(doc! {"pending": {"$exists": true}}).await.unwrap();
        (pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_beyond_the_capacity_of_the_producer_cost_no_report_of_the_others() {
    // Together twice as large as the queue of the producer. Without the reports, the first of them fill it again and again.
    const EVENTS: i64 = 300;
    const BYTES: usize = 100_000;
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (_, _, room) = app.direct_room().await;
    let log = mongo_database(&app.space).await.collection::<Document>("room_log");
    log.insert_many((1..=EVENTS).map(|position| overdue(room, position, &"x".repeat(BYTES)))).await.unwrap();

    eventually("nothing is pending", || async {
        let pending = log.count_documents(doc! {"pending": {"$exists": true}}).await.unwrap();
        (pending == 0).then_some(())
    })
    .await;
}
