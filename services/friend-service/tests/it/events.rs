//! The events that the service publishes and consumes.

use common::events::Event;
use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated, UserRegistered};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use insta::assert_json_snapshot;
use platform::telemetry::Trace;
use prometheus::Registry;
use serde_json::json;

use crate::app::TestApp;

async fn publish<E: Event>(app: &TestApp, event: &E) {
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &Registry::new()).unwrap();
    let (id, now) = (uuid::Uuid::now_v7(), chrono::Utc::now());
    let record = Record::of(event, &config.topics, id, now, &Trace::default()).unwrap();
    producer.send(record).unwrap().await.unwrap();
}

#[tokio::test]
async fn every_change_is_published_once_and_in_order() {
    let app = TestApp::start_with_events().await;
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
    for event in &all[..3] {
        assert_eq!(event["friendship_id"], id);
    }
    assert!(all[0]["timestamp"].as_str().unwrap().ends_with('Z') && all[0]["event_id"].is_string());
    assert_json_snapshot!(
        &all[..3],
        {
            "[].event_id" => "[id]",
            "[].friendship_id" => "[id]",
            "[].timestamp" => "[time]",
            "[].version" => "[version]",
        },
        @r#"
    [
      {
        "__event_type__": "FriendRequestSent",
        "addressee_id": 2,
        "addressee_name": "bob",
        "event_id": "[id]",
        "event_type": "FriendRequestSent",
        "friendship_id": "[id]",
        "requester_id": 1,
        "requester_name": "ann",
        "schema_version": 1,
        "timestamp": "[time]",
        "version": "[version]"
      },
      {
        "__event_type__": "FriendRequestAccepted",
        "addressee_id": 2,
        "addressee_name": "bob",
        "event_id": "[id]",
        "event_type": "FriendRequestAccepted",
        "friendship_id": "[id]",
        "requester_id": 1,
        "requester_name": "ann",
        "schema_version": 1,
        "timestamp": "[time]",
        "version": "[version]"
      },
      {
        "__event_type__": "FriendRemoved",
        "event_id": "[id]",
        "event_type": "FriendRemoved",
        "friend_id": 2,
        "friendship_id": "[id]",
        "schema_version": 1,
        "timestamp": "[time]",
        "user_id": 1,
        "version": "[version]"
      }
    ]
    "#
    );
}

#[tokio::test]
async fn a_block_publishes_the_end_of_a_friendship_before_itself() {
    let app = TestApp::start_with_events().await;
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
async fn refused_changes_publish_nothing() {
    let app = TestApp::start_with_events().await;
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
async fn usernames_from_events_are_shown_while_user_service_is_unavailable() {
    let app = TestApp::start_with_events().await;
    let (ann, _) = app.two_friends().await;
    let registered = UserRegistered {
        user_id: UserId(2),
        email: "bob@x.com".into(),
        username: "bob".into(),
        display_name: "Bob".into(),
    };
    publish(&app, &registered).await;
    let replica = app.replica("http://127.0.0.1:1").await;

    testkit::eventually("the username is projected", || async {
        let list = ann.at(&replica).client.get("/friends/list").await.expect(200);
        (list[0]["username"] == "bob").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_changed_profile_is_fetched_again() {
    let app = TestApp::start_with_events().await;
    let (ann, _) = app.two_friends().await;
    let shown = || async { ann.client.get("/friends/list").await.expect(200)[0].clone() };
    assert_eq!(shown().await["display_name"], "Display bob");
    app.user_service.set_field(2, "display_name", json!("Robert"));

    testkit::eventually("the new name is shown", || async {
        // Published on each attempt, because the tail may begin after the first one.
        let updated =
            UserProfileUpdated { user_id: UserId(2), display_name: Some("Robert".into()), status_message: None };
        publish(&app, &updated).await;
        (shown().await["display_name"] == "Robert").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_offline_event_sets_the_last_seen_time() {
    let app = TestApp::start_with_events().await;
    let (ann, _) = app.two_friends().await;
    let shown = || async { ann.client.get("/friends/list").await.expect(200)[0]["last_seen_at"].clone() };
    let before = shown().await;
    let calls = app.user_service.calls("/batch").len();

    testkit::eventually("the last-seen time changes", || async {
        publish(&app, &UserOnlineStatusChanged { user_id: UserId(2), is_online: false }).await;
        (shown().await != before).then_some(())
    })
    .await;
    assert_eq!(app.user_service.calls("/batch").len(), calls, "the event needs no further call");
}

#[tokio::test]
async fn a_hostile_trace_context_is_passed_on_rebuilt() {
    const IDS: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    let app = TestApp::start_with_events().await;
    let (ann, _) = app.ann_and_bob();
    let ann = ann.client.with_header("traceparent", &format!("fe-{IDS}-ff-{}", "x".repeat(4000)));
    let ann = ann.with_header("tracestate", &"a=b,".repeat(1000)).with_header("baggage", &"c=d,".repeat(1000));

    ann.post("/friends/request", json!({"user_id_2": 2})).await.expect(201);

    let events = app.friend_events();
    events.expect("FriendRequestSent", 1).await;
    assert_eq!(events.headers("traceparent").await, [format!("00-{IDS}-01")]);
    for dropped in ["tracestate", "baggage"] {
        assert!(events.headers(dropped).await.is_empty(), "{dropped}");
    }
}
