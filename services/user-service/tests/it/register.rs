//! Registration.

use futures_util::future::join_all;
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::app::{TestApp, registration};

#[tokio::test]
async fn a_registration_returns_the_account() {
    let app = TestApp::start().await;
    let mut new = registration("ann");
    new["display_name"] = json!("  앤 😀 ");

    let account = app.anonymous().post("/api/auth/register", new).await.expect(201);

    assert_json_snapshot!(account, {".id" => "[id]", ".created_at" => "[time]", ".updated_at" => "[time]"}, @r#"
    {
      "created_at": "[time]",
      "display_name": "앤 😀",
      "email": "ann@example.com",
      "id": "[id]",
      "updated_at": "[time]",
      "username": "ann"
    }
    "#);
    assert!(account["id"].as_i64().unwrap() > 0);
    assert!(account["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(account["created_at"], account["updated_at"]);
}

#[tokio::test]
async fn a_registration_publishes_one_event_with_the_username_as_default_display_name() {
    let app = TestApp::start_with_events(&[]).await;
    let id = app.register("ann").await["id"].clone();

    let events = app.user_events().expect("UserRegistered", 1).await;

    assert_eq!(events[0]["user_id"], id);
    assert!(events[0]["version"].as_u64().unwrap() > 0);
    assert_json_snapshot!(events, {
        "[].user_id" => "[id]", "[].event_id" => "[id]", "[].timestamp" => "[time]", "[].version" => "[version]",
    }, @r#"
    [
      {
        "__event_type__": "UserRegistered",
        "display_name": "ann",
        "email": "ann@example.com",
        "event_id": "[id]",
        "event_type": "UserRegistered",
        "schema_version": 1,
        "timestamp": "[time]",
        "user_id": "[id]",
        "username": "ann",
        "version": "[version]"
      }
    ]
    "#);
}

#[tokio::test]
async fn every_invalid_field_is_reported_and_no_password_is_echoed() {
    let app = TestApp::start().await;
    let invalid = json!({"email": "x", "username": "-a", "password": "secret", "display_name": "a\u{7}b"});

    let answer = app.anonymous().post("/auth/register", invalid).await;

    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let body = answer.expect(422);
    let mut fields: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["loc"][1].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["display_name", "email", "password", "username"]);
    assert_eq!(body["validation_errors"].as_array().unwrap().len(), 4);
    assert_eq!(body["error"], "validation_error");
}

#[tokio::test]
async fn missing_and_mistyped_fields_are_reported() {
    let app = TestApp::start().await;

    let body = app.anonymous().post("/auth/register", json!({"username": 5, "password": null})).await.expect(422);

    let mut kinds: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["missing", "string_type", "string_type"]);
}

#[tokio::test]
async fn e_mail_and_username_are_unique_in_any_case() {
    let app = TestApp::start().await;
    app.register("ann").await;
    let taken = async |email: &str, username: &str| {
        let new = json!({"email": email, "username": username, "password": "Passw0rd!"});
        app.anonymous().post("/auth/register", new).await.expect(409)["message"].clone()
    };

    assert_eq!(taken("ANN@example.com", "other").await, "Email already registered");
    assert_eq!(taken("ann@EXAMPLE.com", "Ann").await, "Email already registered");
    assert_eq!(taken("other@example.com", "ANN").await, "Username already taken");
}

/// Sends registrations at the same time. One is accepted, and all others are conflicts.
pub async fn race_for_one(app: &TestApp, registrations: impl Iterator<Item = Value>) {
    let race = registrations.map(|new| {
        let client = app.anonymous();
        async move { client.post("/auth/register", new).await.status }
    });

    let mut statuses = join_all(race).await;

    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 409), "{statuses:?}");
}

#[tokio::test]
async fn of_fifty_concurrent_registrations_of_one_e_mail_one_succeeds() {
    let app = TestApp::start().await;
    let new = |n| json!({"email": "ann@example.com", "username": format!("ann{n}"), "password": "Passw0rd!"});

    race_for_one(&app, (0..50).map(new)).await;
}

#[tokio::test]
async fn of_fifty_concurrent_registrations_of_one_username_one_succeeds() {
    let app = TestApp::start().await;
    let new = |n| json!({"email": format!("ann{n}@example.com"), "username": "ann", "password": "Passw0rd!"});

    race_for_one(&app, (0..50).map(new)).await;
}

#[tokio::test]
async fn the_oldest_clients_send_the_username_as_nickname() {
    let app = TestApp::start().await;
    let new = json!({"email": "ann@example.com", "nickname": "ann", "password": "Passw0rd!"});

    assert_eq!(app.anonymous().post("/auth/register", new).await.expect(201)["username"], "ann");
}

#[tokio::test]
async fn a_blank_display_name_becomes_null() {
    let app = TestApp::start().await;
    let mut new = registration("ann");
    new["display_name"] = json!(" \t ");

    assert_eq!(app.anonymous().post("/auth/register", new).await.expect(201)["display_name"], Value::Null);
}
