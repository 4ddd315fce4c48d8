//! Refresh tokens, and the list of sessions.

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn a_refresh_token_is_exchanged_once() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let anyone = stage.stranger();

    let second = anyone.post("/auth/refresh", json!({"refresh_token": ann.token["refresh_token"]})).await.expect(200);

    assert_ne!(second["refresh_token"], ann.token["refresh_token"]);
    assert_eq!(second["user_id"], ann.id);
    stage.server.client(second["access_token"].as_str().unwrap()).get("/profile/me").await.expect(200);
    let third = anyone.post("/auth/refresh", json!({"refresh_token": second["refresh_token"]})).await.expect(200);
    assert_eq!(third["expires_in"], 7200);
}

#[tokio::test]
async fn a_used_refresh_token_ends_the_session_of_thief_and_owner() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let anyone = stage.stranger();
    let first = json!({"refresh_token": ann.token["refresh_token"]});
    let second = anyone.post("/auth/refresh", first.clone()).await.expect(200);

    anyone.post("/auth/refresh", first).await.expect(401);

    anyone.post("/auth/refresh", json!({"refresh_token": second["refresh_token"]})).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
    stage.server.client(second["access_token"].as_str().unwrap()).get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn of_two_who_show_one_refresh_token_at_once_none_keeps_the_session() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let anyone = stage.stranger();
    let shown = json!({"refresh_token": ann.token["refresh_token"]});

    let (one, two) = tokio::join!(anyone.post("/auth/refresh", shown.clone()), anyone.post("/auth/refresh", shown));

    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn unknown_and_expired_refresh_tokens_are_refused() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let anyone = stage.stranger();

    assert_eq!(
        anyone.post("/auth/refresh", json!({"refresh_token": "x"})).await.expect(401)["error"],
        "authentication_error"
    );
    anyone.post("/auth/refresh", json!({"refresh_token": ""})).await.expect(422);
    anyone.post("/auth/refresh", json!({})).await.expect(422);
    stage.execute("UPDATE user_sessions SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND").await;
    anyone.post("/auth/refresh", json!({"refresh_token": ann.token["refresh_token"]})).await.expect(401);
}

#[tokio::test]
async fn sessions_are_listed_with_where_they_were_begun() {
    let stage = Stage::start().await;
    let phone = stage.person("ann").await;
    let login = json!({"email": phone.email, "password": crate::stage::PASSWORD});
    let desk = stage.stranger().with_header("user-agent", "Desk/1.0").with_header("x-forwarded-for", "203.0.113.7");
    desk.post("/auth/login/json", login).await.expect(200);
    stage.person("bob").await;

    let sessions = phone.client.get("/auth/sessions").await.expect(200);

    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["user_agent"], "Desk/1.0");
    assert_eq!(sessions[0]["ip"], "203.0.113.7");
    assert_eq!(sessions[0]["current"], false);
    assert_eq!(sessions[1]["current"], true);
    assert!(sessions[1]["created_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_session_is_ended_by_its_owner_only() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let desk = stage.log_in("ann").await;
    let bob = stage.person("bob").await;
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let other = sessions.as_array().unwrap().iter().find(|s| s["current"] == false).unwrap();
    let path = format!("/auth/sessions/{}", other["sid"].as_str().unwrap());

    bob.client.delete(&path).await.expect(404);
    desk.client.get("/profile/me").await.expect(200);
    ann.client.delete(&path).await.expect(200);

    desk.client.get("/profile/me").await.expect(401);
    ann.client.delete(&path).await.expect(404);
    ann.client.delete("/auth/sessions/x").await.expect(404);
    assert_eq!(ann.client.get("/auth/sessions").await.expect(200).as_array().map(Vec::len), Some(1));
    ann.client.post("/auth/heartbeat", Value::Null).await.expect(204);
}
