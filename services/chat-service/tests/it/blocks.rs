//! Blocked pairs do not message each other.

use chrono::Utc;
use common::events::friend::{UserBlocked, UserUnblocked};
use common::events::{Event, encode};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use serde_json::json;
use testkit::eventually;
use uuid::Uuid;

use crate::app::{Person, TestApp};

pub async fn publish<E: Event>(app: &TestApp, event: &E, version: u64) {
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &prometheus::Registry::new()).unwrap();
    let payload = encode(Uuid::now_v7(), Some(version), Utc::now(), event).unwrap().into();
    let topic = config.topics.of(E::STREAM).to_owned();
    producer.send(Record { topic, key: event.key(), payload, headers: Vec::new() }).unwrap().await.unwrap();
}

async fn status(person: &Person, room: i64) -> u16 {
    person.client.post(&format!("/messages/{room}"), json!({"content": "hello?"})).await.status
}

#[tokio::test]
async fn blocks_of_before_the_start_are_loaded() {
    let app = TestApp::start().await;

    for (one, two) in [(6, 7), (8, 9)] {
        let room = app.person(one).room_with(two).await;
        for person in [app.person(one), app.person(two)] {
            eventually("both ways", || async { (status(&person, room).await == 403).then_some(()) }).await;
            let refused = person.client.post(&format!("/messages/{room}"), json!({"content": "hello?"})).await;
            assert_eq!(refused.expect(403)["error"], "BLOCKED");
            person.client.get(&format!("/messages/{room}")).await.expect(200);
        }
    }
    let (ann, _, room) = app.two_in_a_room().await;
    ann.says(room, "hello").await;
}

#[tokio::test]
async fn a_block_comes_and_goes_by_event_and_a_late_one_changes_nothing() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let (user_id, blocked_user_id) = (UserId(1), UserId(2));

    // Until the tail stands at the end of the new topic, an event could fall before it.
    eventually("the block is heard", || async {
        publish(&app, &UserBlocked { user_id, blocked_user_id }, 5).await;
        (status(&bob, room).await == 403).then_some(())
    })
    .await;
    assert_eq!(status(&ann, room).await, 403);
    publish(&app, &UserUnblocked { user_id, blocked_user_id }, 8).await;
    publish(&app, &UserBlocked { user_id, blocked_user_id }, 7).await;
    eventually("the end of it is heard", || async { (status(&bob, room).await == 201).then_some(()) }).await;
}
