//! Refresh tokens and the list of sessions.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use testkit::Answer;

use crate::app::TestApp;

/// Presents the refresh token of these tokens.
pub async fn refresh(app: &TestApp, token: &Value) -> Answer {
    app.anonymous().post("/auth/refresh", json!({"refresh_token": token["refresh_token"]})).await
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let anonymous = app.anonymous();

    let second =
        anonymous.post("/auth/refresh", json!({"refresh_token": ann.token["refresh_token"]})).await.expect(200);

    assert_ne!(second["refresh_token"], ann.token["refresh_token"]);
    assert_eq!(second["user_id"], ann.id);
    app.server.client(second["access_token"].as_str().unwrap()).get("/profile/me").await.expect(200);
    let third = anonymous.post("/auth/refresh", json!({"refresh_token": second["refresh_token"]})).await.expect(200);
    assert_eq!(third["expires_in"], 7200);
}

#[tokio::test]
async fn a_reused_refresh_token_revokes_the_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let anonymous = app.anonymous();
    let first = json!({"refresh_token": ann.token["refresh_token"]});
    let second = anonymous.post("/auth/refresh", first.clone()).await.expect(200);

    anonymous.post("/auth/refresh", first).await.expect(401);

    anonymous.post("/auth/refresh", json!({"refresh_token": second["refresh_token"]})).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
    app.server.client(second["access_token"].as_str().unwrap()).get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn concurrent_use_of_one_refresh_token_revokes_the_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let anonymous = app.anonymous();
    let presented = json!({"refresh_token": ann.token["refresh_token"]});

    let (one, two) =
        tokio::join!(anonymous.post("/auth/refresh", presented.clone()), anonymous.post("/auth/refresh", presented));

    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn unknown_and_expired_refresh_tokens_are_refused() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let anonymous = app.anonymous();

    assert_eq!(
        anonymous.post("/auth/refresh", json!({"refresh_token": "x"})).await.expect(401)["error"],
        "authentication_error"
    );
    anonymous.post("/auth/refresh", json!({"refresh_token": ""})).await.expect(422);
    anonymous.post("/auth/refresh", json!({})).await.expect(422);
    app.execute("UPDATE user_sessions SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND").await;
    anonymous.post("/auth/refresh", json!({"refresh_token": ann.token["refresh_token"]})).await.expect(401);
}

#[tokio::test]
async fn sessions_are_listed_with_their_address_and_user_agent() {
    let app = TestApp::start().await;
    let phone = app.person("ann").await;
    let login = json!({"email": phone.email, "password": crate::app::PASSWORD});
    let desk = app.anonymous().with_header("user-agent", "Desk/1.0").with_header("x-forwarded-for", "203.0.113.7");
    desk.post("/auth/login/json", login).await.expect(200);
    app.person("bob").await;

    let sessions = phone.client.get("/auth/sessions").await.expect(200);

    assert!(sessions[1]["created_at"].as_str().unwrap().ends_with('Z'));
    assert_json_snapshot!(sessions, {
        "[].sid" => "[id]", "[].created_at" => "[time]", "[].last_used_at" => "[time]",
    }, @r#"
    [
      {
        "created_at": "[time]",
        "current": false,
        "ip": "203.0.113.7",
        "last_used_at": "[time]",
        "sid": "[id]",
        "user_agent": "Desk/1.0"
      },
      {
        "created_at": "[time]",
        "current": true,
        "ip": "127.0.0.1",
        "last_used_at": "[time]",
        "sid": "[id]",
        "user_agent": null
      }
    ]
    "#);
}

#[tokio::test]
async fn only_the_owner_can_end_a_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let desk = app.log_in("ann").await;
    let bob = app.person("bob").await;
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
