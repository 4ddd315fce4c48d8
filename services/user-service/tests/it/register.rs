//! Registering.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::stage::{Stage, registration};

#[tokio::test]
async fn an_account_is_answered_as_its_owner_sees_it() {
    let stage = Stage::start().await;
    let mut new = registration("ann");
    new["display_name"] = json!("  앤 😀 ");

    let made = stage.stranger().post("/api/auth/register", new).await.expect(201);

    assert_eq!(made["email"], "ann@example.com");
    assert_eq!(made["username"], "ann");
    assert_eq!(made["display_name"], "앤 😀");
    assert!(made["id"].as_i64().unwrap() > 0);
    assert!(made["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(made["created_at"], made["updated_at"]);
    assert!(made.get("password").is_none() && made.get("password_hash").is_none());
}

#[tokio::test]
async fn a_registration_is_told_once_with_the_username_in_the_place_of_a_missing_name() {
    let stage = Stage::with_events(&[]).await;
    let id = stage.register("ann").await["id"].clone();

    let told = stage.user_events().expect("UserRegistered", 1).await;

    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["user_id"], id);
    assert_eq!(told[0]["email"], "ann@example.com");
    assert_eq!(told[0]["display_name"], "ann");
    assert_eq!(told[0]["__event_type__"], "UserRegistered");
    assert!(told[0]["version"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn every_broken_field_is_named_and_no_password_is_echoed() {
    let stage = Stage::start().await;
    let broken = json!({"email": "x", "username": "-a", "password": "secret", "display_name": "a\u{7}b"});

    let answer = stage.stranger().post("/auth/register", broken).await;

    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let body = answer.expect(422);
    let mut fields: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["loc"][1].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["display_name", "email", "password", "username"]);
    assert_eq!(body["validation_errors"].as_array().unwrap().len(), 4);
    assert_eq!(body["error"], "validation_error");
}

#[tokio::test]
async fn missing_and_mistyped_fields_are_named() {
    let stage = Stage::start().await;

    let body = stage.stranger().post("/auth/register", json!({"username": 5, "password": null})).await.expect(422);

    let mut kinds: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["missing", "string_type", "string_type"]);
}

#[tokio::test]
async fn e_mail_and_username_are_unique_whatever_their_case() {
    let stage = Stage::start().await;
    stage.register("ann").await;
    let taken = async |email: &str, username: &str| {
        let new = json!({"email": email, "username": username, "password": "Passw0rd!"});
        stage.stranger().post("/auth/register", new).await.expect(409)["message"].clone()
    };

    assert_eq!(taken("ANN@example.com", "other").await, "Email already registered");
    assert_eq!(taken("ann@EXAMPLE.com", "Ann").await, "Email already registered");
    assert_eq!(taken("other@example.com", "ANN").await, "Username already taken");
}

#[tokio::test]
async fn of_fifty_who_race_for_one_e_mail_one_is_first() {
    let stage = Stage::start().await;
    let race = (0..50).map(|n| {
        let client = stage.stranger();
        let new = json!({"email": "ann@example.com", "username": format!("ann{n}"), "password": "Passw0rd!"});
        async move { client.post("/auth/register", new).await.status }
    });

    let mut statuses = join_all(race).await;

    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 409), "{statuses:?}");
}

#[tokio::test]
async fn of_fifty_who_race_for_one_username_one_is_first() {
    let stage = Stage::start().await;
    let race = (0..50).map(|n| {
        let client = stage.stranger();
        let new = json!({"email": format!("ann{n}@example.com"), "username": "ann", "password": "Passw0rd!"});
        async move { client.post("/auth/register", new).await.status }
    });

    let statuses = join_all(race).await;

    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 49, "{statuses:?}");
}

#[tokio::test]
async fn the_oldest_clients_call_the_username_nickname() {
    let stage = Stage::start().await;
    let new = json!({"email": "ann@example.com", "nickname": "ann", "password": "Passw0rd!"});

    assert_eq!(stage.stranger().post("/auth/register", new).await.expect(201)["username"], "ann");
}

#[tokio::test]
async fn a_blank_display_name_is_none() {
    let stage = Stage::start().await;
    let mut new = registration("ann");
    new["display_name"] = json!(" \t ");

    assert_eq!(stage.stranger().post("/auth/register", new).await.expect(201)["display_name"], Value::Null);
}
