//! The caller's own profile.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use testkit::{Client, LoggedProcess, eventually};

use crate::app::TestApp;

#[tokio::test]
async fn the_own_profile_contains_the_e_mail_address() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    let profile = ann.client.get("/profile/me").await.expect(200);

    assert_eq!(profile["id"], ann.id);
    assert_json_snapshot!(profile, {".id" => "[id]"}, @r#"
    {
      "display_name": null,
      "email": "ann@example.com",
      "id": "[id]",
      "is_online": true,
      "last_seen_at": null,
      "nickname": "ann",
      "profile_image_url": null,
      "refuse_stranger_groups": false,
      "status_message": null,
      "username": "ann"
    }
    "#);
    for path in ["/api/profile/me", "/profile/me/", "/profile"] {
        assert_eq!(ann.client.get(path).await.expect(200), profile, "{path}");
    }
}

#[tokio::test]
async fn an_absent_field_or_null_keeps_the_value_and_an_empty_text_clears_it() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let all =
        json!({"display_name": " 앤 ", "status_message": "회의 중", "profile_image_url": "https://a.example/b.png"});

    let profile = ann.client.put("/profile/me", all).await.expect(200);
    assert_json_snapshot!(profile, {".id" => "[id]"}, @r#"
    {
      "display_name": "앤",
      "email": "ann@example.com",
      "id": "[id]",
      "is_online": true,
      "last_seen_at": null,
      "nickname": "앤",
      "profile_image_url": "https://a.example/b.png",
      "refuse_stranger_groups": false,
      "status_message": "회의 중",
      "username": "ann"
    }
    "#);
    assert_eq!(ann.client.patch("/profile/me", json!({"display_name": null})).await.expect(200), profile);

    let cleared = json!({"display_name": "", "status_message": "", "profile_image_url": ""});
    let profile = ann.client.put("/api/profile/me", cleared).await.expect(200);
    for field in ["display_name", "status_message", "profile_image_url"] {
        assert_eq!(profile[field], Value::Null);
    }
    assert_eq!(ann.client.put("/profile/me", json!({})).await.expect(200), profile);
}

#[tokio::test]
async fn every_invalid_field_is_reported() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let invalid = json!({
        "display_name": "x".repeat(101), "status_message": "x".repeat(501), "profile_image_url": "http://a.example",
    });

    let body = ann.client.put("/profile/me", invalid).await.expect(422);

    let mut kinds: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["string_too_long", "string_too_long", "value_error"]);
}

#[tokio::test]
async fn a_change_is_visible_at_once_on_every_replica() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ann = app.person("ann").await;
    let elsewhere = other.client(ann.client.token());

    for n in 0..20 {
        let name = format!("Ann {n}");
        // A concurrent read may cache the old profile.
        let before = elsewhere.get("/profile/me");
        let change = ann.client.put("/profile/me", json!({"display_name": name}));
        let (_, changed) = tokio::join!(before, change);
        assert_eq!(changed.expect(200)["display_name"], name);
        assert_eq!(elsewhere.get("/profile/me").await.expect(200)["display_name"], name);
        assert_eq!(elsewhere.get(&format!("/users/{}", ann.id)).await.expect(200)["display_name"], name);
    }
}

#[tokio::test]
async fn an_edit_publishes_an_event_only_if_it_changes_something() {
    let app = TestApp::start_with_events(&[]).await;
    let ann = app.person("ann").await;

    ann.client.put("/profile/me", json!({"status_message": "hi"})).await.expect(200);
    ann.client.put("/profile/me", json!({"status_message": "hi"})).await.expect(200);
    ann.client.put("/profile/me", json!({"display_name": "Annie"})).await.expect(200);

    let events = app.user_events().expect("UserProfileUpdated", 2).await;
    assert!(events.iter().all(|event| event["user_id"] == ann.id));
    assert!(events[0]["version"].as_u64() < events[1]["version"].as_u64());
    assert_json_snapshot!(events, {
        "[].user_id" => "[id]", "[].event_id" => "[id]", "[].timestamp" => "[time]", "[].version" => "[version]",
    }, @r#"
    [
      {
        "__event_type__": "UserProfileUpdated",
        "display_name": null,
        "event_id": "[id]",
        "event_type": "UserProfileUpdated",
        "schema_version": 1,
        "status_message": "hi",
        "timestamp": "[time]",
        "user_id": "[id]",
        "version": "[version]"
      },
      {
        "__event_type__": "UserProfileUpdated",
        "display_name": "Annie",
        "event_id": "[id]",
        "event_type": "UserProfileUpdated",
        "schema_version": 1,
        "status_message": "hi",
        "timestamp": "[time]",
        "user_id": "[id]",
        "version": "[version]"
      }
    ]
    "#);
}

#[tokio::test]
async fn the_oldest_clients_change_the_display_name_as_nickname() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    for (path, name) in [("/profile", "One"), ("/profile/me", "Two")] {
        let profile = ann.client.put(path, json!({"nickname": name})).await.expect(200);
        assert_eq!(profile["nickname"], name);
        assert_eq!(profile["display_name"], name);
    }
    assert_eq!(ann.client.patch("/profile", json!({"nickname": "Three"})).await.expect(200)["nickname"], "Three");
}

/// The SELECT statements of a process so far.
async fn selects(client: &Client) -> f64 {
    let metrics = client.get("/metrics").await.text;
    let is_select = |line: &&str| line.contains("operation=\"select\"") && line.contains("store=\"mysql\"");
    let counts =
        metrics.lines().filter(|line| line.starts_with("store_query_duration_seconds_count")).filter(is_select);
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn the_own_profile_takes_no_query_while_it_is_cached() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let process = LoggedProcess::start(env!("CARGO_BIN_EXE_user-service"), app.space.env(&app.mysql_url)).await;
    let client = process.client.with_token(ann.client.token());
    client.get("/profile/me").await.expect(200);
    eventually("the profile is cached", || async { app.redis_content().await.contains("cache:user").then_some(()) })
        .await;

    let before = selects(&client).await;
    for _ in 0..200 {
        assert_eq!(client.get("/profile/me").await.expect(200)["email"], ann.email);
    }

    // The background tasks select a few times a second.
    let after = selects(&client).await;
    assert!(before > 0.0 && after - before < 100.0, "{} for 200 requests", after - before);
}

#[tokio::test]
async fn only_the_user_and_services_see_that_the_user_refuses_groups_of_strangers() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let batch = json!({"user_ids": [ann.id]});
    let service = app.server.client(&app.space.service_token("chat-service", "user-service"));
    let seen =
        async || service.post("/users/batch", batch.clone()).await.expect(200)[0]["refuse_stranger_groups"].clone();
    let set =
        async |change: Value| ann.client.put("/profile/me", change).await.expect(200)["refuse_stranger_groups"].clone();
    assert_eq!(seen().await, false);

    assert_eq!(set(json!({"refuse_stranger_groups": true})).await, true);

    assert_eq!(set(json!({"display_name": "Ann", "refuse_stranger_groups": null})).await, true);
    assert_eq!(seen().await, true);
    for path in [format!("/users/{}", ann.id), format!("/users?user_ids={}", ann.id), "/users/search?query=ann".into()]
    {
        let answer = bob.client.get(&path).await;
        assert!(answer.status == 200 && !answer.text.contains("refuse_stranger_groups"), "{path}");
    }
    assert_eq!(bob.client.post("/users/batch", batch.clone()).await.expect(200)[0].get("refuse_stranger_groups"), None);
    assert_eq!(set(json!({"refuse_stranger_groups": false})).await, false);
    assert_eq!(seen().await, false);
    ann.client.put("/profile/me", json!({"refuse_stranger_groups": "yes"})).await.expect(422);
}
