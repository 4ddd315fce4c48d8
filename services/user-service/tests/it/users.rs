//! Profiles of users by their ids.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn the_profile_of_another_user_has_no_e_mail_address() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.register("bob").await);
    let id = bob["id"].as_i64().unwrap();

    let profile = ann.client.get(&format!("/users/{id}")).await.expect(200);

    assert_json_snapshot!(profile, {".id" => "[id]"}, @r#"
    {
      "display_name": null,
      "id": "[id]",
      "is_online": false,
      "last_seen_at": null,
      "profile_image_url": null,
      "status_message": null,
      "username": "bob"
    }
    "#);
    for path in [format!("/profile/{id}"), format!("/api/users/{id}")] {
        assert_eq!(ann.client.get(&path).await.expect(200), profile, "{path}");
    }
}

#[tokio::test]
async fn unknown_and_malformed_ids_are_rejected() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    assert_eq!(ann.client.get("/users/999999").await.expect(404)["message"], "User not found");
    ann.client.get("/users/9223372036854775807").await.expect(404);
    for id in ["0", "-1", "x", "1.5", "9223372036854775808"] {
        assert_eq!(ann.client.get(&format!("/users/{id}")).await.expect(422)["detail"][0]["loc"][0], "path");
        ann.client.get(&format!("/profile/{id}")).await.expect(422);
    }
}

#[tokio::test]
async fn several_users_are_returned_in_the_order_of_the_ids() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);

    let list = format!("{},999999,{},{}", bob.id, ann.id, bob.id);
    for path in [format!("/users?user_ids={list}"), format!("/api/users?ids={list}")] {
        let users = ann.client.get(&path).await.expect(200);
        let names: Vec<_> = users.as_array().unwrap().iter().map(|p| p["username"].clone()).collect();
        assert_eq!(names, ["bob", "ann"].map(Value::from));
    }
    let many: Vec<_> = (1..=101).map(|id| id.to_string()).collect();
    for (ids, problem) in [
        (String::new(), "At least one user ID is required"),
        ("1,x".into(), "Invalid user ID format"),
        (many.join(","), "Maximum 100 user IDs allowed"),
    ] {
        assert_eq!(ann.client.get(&format!("/users?user_ids={ids}")).await.expect(400)["message"], problem);
    }
    for path in ["/users", "/users?other=1"] {
        let missing = &ann.client.get(path).await.expect(422)["detail"][0];
        assert_eq!((&missing["type"], &missing["loc"]), (&json!("missing"), &json!(["query", "user_ids"])), "{path}");
    }
}

#[tokio::test]
async fn services_look_users_up_with_their_own_token() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let service = app.server.client(&app.space.service_token("friend-service", "user-service"));
    let ids = json!({"user_ids": [ann.id, 999_999]});
    let exists = |id: i64| format!("/users/{id}/exists");

    for client in [&service, &ann.client] {
        let users = client.post("/api/users/batch", ids.clone()).await.expect(200);
        assert_eq!(users.as_array().unwrap().len(), 1);
        assert_eq!(users[0]["username"], "ann");
        assert_eq!(client.get(&exists(ann.id)).await.expect(200), json!({"user_id": ann.id, "exists": true}));
        assert_eq!(client.get(&exists(999_999)).await.expect(200), json!({"user_id": 999_999, "exists": false}));
    }
    service.get("/profile/me").await.expect(401);
    app.anonymous().post("/users/batch", ids).await.expect(401);
    app.anonymous().get(&exists(ann.id)).await.expect(401);
}

#[tokio::test]
async fn a_batch_has_one_to_a_hundred_ids() {
    let app = TestApp::start().await;
    let service = app.server.client(&app.space.service_token("chat-service", "user-service"));
    let batch = async |ids: Value| service.post("/users/batch", json!({"user_ids": ids})).await;

    batch(json!((1..=100).collect::<Vec<_>>())).await.expect(200);
    assert_eq!(batch(json!(["1"])).await.expect(200), json!([]));
    for (ids, kind) in [
        (json!([]), "too_short"),
        (json!((1..=101).collect::<Vec<_>>()), "too_long"),
        (json!("1"), "list_type"),
        (json!([0]), "greater_than_equal"),
        (json!(["x"]), "int_parsing"),
    ] {
        assert_eq!(batch(ids).await.expect(422)["detail"][0]["type"], kind);
    }
}

#[tokio::test]
async fn anonymous_service_calls_are_allowed_if_configured() {
    let app = TestApp::start_with(&[("ALLOW_ANONYMOUS_SERVICE_CALLS", "true")]).await;
    let ann = app.register("ann").await;

    let users = app.anonymous().post("/api/users/batch", json!({"user_ids": [ann["id"]]})).await.expect(200);

    assert_eq!(users[0]["username"], "ann");
    app.anonymous().get(&format!("/users/{}", ann["id"])).await.expect(401);
    let metrics = app.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"anonymous_service_calls_total{service="user-service"} 1"#), "{metrics}");
}
