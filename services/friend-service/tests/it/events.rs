//! The events that the service publishes and consumes.

use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated, UserRegistered};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use platform::telemetry::Trace;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::app::TestApp;

async fn publish<E: common::events::Event>(app: &TestApp, event: &E) {
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &Registry::new()).unwrap();
    let (id, now) = (uuid::Uuid::now_v7(), chrono::Utc::now());
    let record = Record::of(event, &config.topics, id, now, &Trace::default()).unwrap();
    producer.send(record).unwrap().await.unwrap();
}

#[tokio::test]
async fn every_change_has_one_event_in_order() {
    let app = TestApp::with_topics().await;
    let (ann, bob) = app.ann_and_bob();
    let id = ann.request(2).await.expect(201)["id"].clone();
    bob.answer(1, "accept").await.expect(200);
    ann.unfriend(2).await.expect(200);
    ann.request(2).await.expect(201);
    ann.cancel(2).await.expect(200);
    ann.request(2).await.expect(201);
    bob.answer(1, "reject").await.expect(200);
    bob.block(1).await.expect(200);
    bob.unblock(1).await.expect(200);

    let events = app.friend_events();
    events.expect("UserUnblocked", 1).await;
    let all = events.all().await;
    let types: Vec<_> = all.iter().map(|event| event["event_type"].as_str().unwrap()).collect();

    assert_eq!(
        types,
        [
            "FriendRequestSent",
            "FriendRequestAccepted",
            "FriendRemoved",
            "FriendRequestSent",
            "FriendRequestCancelled",
            "FriendRequestSent",
            "FriendRequestRejected",
            "UserBlocked",
            "UserUnblocked"
        ]
    );
    let versions: Vec<_> = all.iter().map(|event| event["version"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let of = |event: &Value, fields: &[&str]| fields.iter().map(|field| event[field].clone()).collect::<Vec<_>>();
    let fields =
        ["friendship_id", "requester_id", "requester_name", "addressee_id", "addressee_name", "__event_type__"];
    assert_eq!(
        of(&all[0], &fields),
        [id.clone(), json!(1), json!("ann"), json!(2), json!("bob"), json!("FriendRequestSent")]
    );
    assert_eq!(of(&all[1], &fields[..5]), [id.clone(), json!(1), json!("ann"), json!(2), json!("bob")]);
    assert_eq!(of(&all[2], &["friendship_id", "user_id", "friend_id"]), [id, json!(1), json!(2)]);
    assert!(all[0]["timestamp"].as_str().unwrap().ends_with('Z') && all[0]["event_id"].is_string());
}

#[tokio::test]
async fn the_event_of_an_ended_relation_precedes_that_of_the_block() {
    let app = TestApp::with_topics().await;
    let (ann, bob) = app.two_friends().await;
    ann.block(2).await.expect(200);
    ann.block(2).await.expect(200);
    ann.unblock(2).await.expect(200);
    bob.request(1).await.expect(201);
    ann.block(2).await.expect(200);

    let events = app.friend_events();
    events.expect("UserBlocked", 2).await;
    let types: Vec<_> = events.all().await.iter().map(|event| event["event_type"].clone()).collect();
    assert_eq!(
        types[2..],
        ["FriendRemoved", "UserBlocked", "UserUnblocked", "FriendRequestSent", "FriendRequestRejected", "UserBlocked"]
    );
}

#[tokio::test]
async fn refused_changes_have_no_events() {
    let app = TestApp::with_topics().await;
    let (ann, bob) = app.ann_and_bob();
    ann.cancel(2).await.expect(400);
    bob.unfriend(1).await.expect(404);
    ann.unblock(2).await.expect(404);
    ann.request(2).await.expect(201);
    ann.request(2).await.expect(400);

    let events = app.friend_events();
    events.expect("FriendRequestSent", 1).await;
    assert_eq!(events.all().await.len(), 1);
}

#[tokio::test]
async fn lists_show_names_from_events_while_user_service_is_unavailable() {
    let app = TestApp::with_topics().await;
    let (ann, _) = app.two_friends().await;
    let registered = UserRegistered {
        user_id: UserId(2),
        email: "bob@x.com".into(),
        username: "bob".into(),
        display_name: "Bob".into(),
    };
    publish(&app, &registered).await;
    let alone = app.replica("http://127.0.0.1:1").await;

    testkit::eventually("the name arrives", || async {
        let list = ann.at(&alone).client.get("/friends/list").await.expect(200);
        (list[0]["username"] == "bob").then_some(())
    })
    .await;
}

#[tokio::test]
async fn lists_show_a_changed_profile() {
    let app = TestApp::with_topics().await;
    let (ann, _) = app.two_friends().await;
    let shown = || async { ann.client.get("/friends/list").await.expect(200)[0].clone() };
    assert_eq!(shown().await["display_name"], "Display bob");
    app.users.change(2, "display_name", json!("Robert"));

    testkit::eventually("the new name is shown", || async {
        // Published repeatedly, because the tail may start after the first event.
        let updated =
            UserProfileUpdated { user_id: UserId(2), display_name: Some("Robert".into()), status_message: None };
        publish(&app, &updated).await;
        (shown().await["display_name"] == "Robert").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_offline_event_sets_the_last_seen_time() {
    let app = TestApp::with_topics().await;
    let (ann, _) = app.two_friends().await;
    let shown = || async { ann.client.get("/friends/list").await.expect(200)[0]["last_seen_at"].clone() };
    let before = shown().await;
    let calls = app.users.calls("/batch").len();

    testkit::eventually("the time is new", || async {
        publish(&app, &UserOnlineStatusChanged { user_id: UserId(2), is_online: false }).await;
        (shown().await != before).then_some(())
    })
    .await;
    assert_eq!(app.users.calls("/batch").len(), calls, "without a further call");
}
