//! Blocks: users who have blocked the caller are hidden from them.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::events::friend::{UserBlocked, UserUnblocked};
use common::events::{Event, encode};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use serde_json::{Value, json};
use testkit::{Client, eventually};
use uuid::Uuid;

use crate::app::{Person, TestApp, friend_service};

/// The first registered user has blocked the second one.
async fn blocks(headers: HeaderMap) -> Response {
    if !headers.contains_key("authorization") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"blocks": [{"id": 1, "user_id": 1, "blocked_user_id": 2}], "next_since_id": null})).into_response()
}

/// Ann, who has a whole profile and is online, and Bob.
async fn ann_and_bob(app: &TestApp) -> (Person, Person) {
    let (ann, bob) = (app.person("ann_lee").await, app.person("bob_lee").await);
    assert_eq!((ann.id, bob.id), (1, 2));
    app.execute("UPDATE users SET last_seen_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY WHERE id = 1").await;
    let profile = json!({
        "display_name": "Ann", "status_message": "in a meeting", "profile_image_url": "https://example.com/ann.png"
    });
    ann.client.put("/profile/me", profile).await.expect(200);
    (ann, bob)
}

async fn names_found(client: &Client) -> (Vec<Value>, Value) {
    let found = client.get("/users/search?query=lee").await.expect(200);
    let names = found["users"].as_array().unwrap().iter().map(|user| user["username"].clone());
    (names.collect(), found["total_count"].clone())
}

/// The profile of a user in the answers of all look-ups, which are equal.
async fn looked_up(client: &Client, id: i64) -> Value {
    let profile = client.get(&format!("/users/{id}")).await.expect(200);
    assert_eq!(client.get(&format!("/profile/{id}")).await.expect(200), profile);
    assert_eq!(client.get(&format!("/users?user_ids={id}")).await.expect(200), json!([profile]));
    assert_eq!(client.post("/users/batch", json!({"user_ids": [id]})).await.expect(200), json!([profile]));
    profile
}

/// The answer to a service with this profile, which has a setting more.
fn as_for_services(mut profile: Value) -> Value {
    profile["refuse_stranger_groups"] = json!(false);
    profile
}

#[tokio::test]
async fn the_blocked_user_does_not_find_the_blocker_and_sees_names_only() {
    let url = friend_service(Router::new().route("/api/friends/blocks", get(blocks))).await;
    let app = TestApp::start_with(&[("FRIEND_SERVICE_URL", &url)]).await;
    let (ann, bob) = ann_and_bob(&app).await;
    let eve = app.person("eve").await;

    eventually("the blocks are loaded", || async { (names_found(&bob.client).await.0.is_empty()).then_some(()) }).await;

    assert_eq!(names_found(&bob.client).await, (vec![], json!(0)));
    assert_eq!(
        looked_up(&bob.client, ann.id).await,
        json!({
            "id": 1, "username": "ann_lee", "display_name": "Ann", "status_message": null, "profile_image_url": null,
            "is_online": false, "last_seen_at": null
        })
    );
    let whole = looked_up(&eve.client, ann.id).await;
    assert_eq!((&whole["status_message"], &whole["is_online"]), (&json!("in a meeting"), &json!(true)));
    assert!(whole["last_seen_at"].is_string(), "{whole}");
    let service = app.server.client(&app.space.service_token("chat-service", "user-service"));
    assert_eq!(
        service.post("/users/batch", json!({"user_ids": [1]})).await.expect(200),
        json!([as_for_services(whole)])
    );
    assert_eq!(names_found(&ann.client).await, (vec![json!("bob_lee")], json!(1)));
    assert_eq!(looked_up(&ann.client, bob.id).await["is_online"], true);
    assert_eq!(ann.client.get("/profile/me").await.expect(200)["status_message"], "in a meeting");
}

#[tokio::test]
async fn until_the_blocks_are_known_users_see_names_only() {
    let app = TestApp::start_with(&[("FRIEND_SERVICE_URL", "http://127.0.0.1:1")]).await;
    let (ann, bob) = ann_and_bob(&app).await;

    assert_eq!(
        looked_up(&bob.client, ann.id).await,
        json!({
            "id": 1, "username": "ann_lee", "display_name": "Ann", "status_message": null, "profile_image_url": null,
            "is_online": false, "last_seen_at": null
        })
    );
    let found = bob.client.get("/users/search?query=ann").await.expect(200)["users"][0].clone();
    assert_eq!((&found["username"], &found["is_online"]), (&json!("ann_lee"), &json!(false)));
    assert_eq!(found["status_message"], Value::Null);
    let own = looked_up(&ann.client, ann.id).await;
    assert_eq!((&own["status_message"], &own["is_online"]), (&json!("in a meeting"), &json!(true)));
    let service = app.server.client(&app.space.service_token("chat-service", "user-service"));
    assert_eq!(service.post("/users/batch", json!({"user_ids": [1]})).await.expect(200), json!([as_for_services(own)]));
}

async fn publish<E: Event>(app: &TestApp, event: &E, version: u64) {
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &prometheus::Registry::new()).unwrap();
    let payload = encode(Uuid::now_v7(), Some(version), chrono::Utc::now(), event).unwrap().into();
    let topic = config.topics.of(E::STREAM).to_owned();
    producer.send(Record { topic, key: event.key(), payload, headers: Vec::new() }).unwrap().await.unwrap();
}

#[tokio::test]
async fn blocks_follow_the_events_of_friend_service() {
    let app = TestApp::start_with_events(&[]).await;
    let (_, bob) = ann_and_bob(&app).await;
    let (user_id, blocked_user_id) = (UserId(1), UserId(2));
    let is_online = || async { bob.client.get("/users/1").await.expect(200)["is_online"] == true };

    // The tail misses events of the time before it reads the new topic, so the event is published repeatedly.
    eventually("the block is applied", || async {
        publish(&app, &UserBlocked { user_id, blocked_user_id }, 5).await;
        (!is_online().await).then_some(())
    })
    .await;
    publish(&app, &UserUnblocked { user_id, blocked_user_id }, 8).await;
    publish(&app, &UserBlocked { user_id, blocked_user_id }, 7).await;
    eventually("the block is removed", || async { is_online().await.then_some(()) }).await;
    assert_eq!(names_found(&bob.client).await.1, json!(1));
}

#[tokio::test]
async fn the_service_works_with_a_friend_service_of_the_original() {
    let url = friend_service(Router::new()).await;
    let app = TestApp::start_with(&[("FRIEND_SERVICE_URL", &url)]).await;
    let (_, bob) = ann_and_bob(&app).await;

    assert_eq!(looked_up(&bob.client, 1).await["status_message"], "in a meeting");
    assert_eq!(names_found(&bob.client).await.1, json!(1));
}
