//! Refresh tokens and the list of sessions.

use futures_util::future::join_all;
use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::app::{PASSWORD, TestApp};

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
async fn a_refresh_token_that_is_older_than_the_predecessor_revokes_the_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    let third = refresh(&app, &second).await.expect(200);

    refresh(&app, &ann.token).await.expect(401);

    refresh(&app, &third).await.expect(401);
    for token in [&ann.token, &second, &third] {
        app.server.client(token["access_token"].as_str().unwrap()).get("/profile/me").await.expect(401);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_can_be_requested_again() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    let lost = refresh(&app, &ann.token).await.expect(200);
    let again = refresh(&app, &ann.token).await.expect(200);

    assert_eq!(again["refresh_token"], lost["refresh_token"]);
    assert!(again["refresh_expires_in"].as_u64() <= lost["refresh_expires_in"].as_u64());
    app.server.client(again["access_token"].as_str().unwrap()).get("/profile/me").await.expect(200);
    let next = refresh(&app, &again).await.expect(200);
    assert_ne!(next["refresh_token"], again["refresh_token"]);
}

#[tokio::test]
async fn the_predecessor_of_a_refresh_token_is_exchangeable_for_thirty_seconds() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    app.execute("UPDATE user_sessions SET last_used_at = last_used_at - INTERVAL 20 SECOND").await;
    assert_eq!(refresh(&app, &ann.token).await.expect(200)["refresh_token"], second["refresh_token"]);

    app.execute("UPDATE user_sessions SET last_used_at = last_used_at - INTERVAL 11 SECOND").await;

    refresh(&app, &ann.token).await.expect(401);
    refresh(&app, &second).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn concurrent_uses_of_one_refresh_token_get_the_same_successor() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ann = app.person("ann").await;
    let presented = json!({"refresh_token": ann.token["refresh_token"]});

    let answers = join_all((0..8).map(|n| {
        let (client, presented) = (if n % 2 == 0 { app.anonymous() } else { other.client("") }, presented.clone());
        async move { client.post("/auth/refresh", presented).await.expect(200) }
    }))
    .await;

    for answer in &answers {
        assert_eq!(answer["refresh_token"], answers[0]["refresh_token"]);
        app.server.client(answer["access_token"].as_str().unwrap()).get("/profile/me").await.expect(200);
    }
    refresh(&app, &answers[0]).await.expect(200);
}

#[tokio::test]
async fn the_stored_row_does_not_contain_the_successor_of_a_refresh_token() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    let token = second["refresh_token"].as_str().unwrap();

    let row: String = sqlx::query_scalar(
        "SELECT CONCAT_WS(' ', HEX(refresh_hash), HEX(successor_salt), u.used_hashes) FROM user_sessions,
         (SELECT GROUP_CONCAT(HEX(refresh_hash)) AS used_hashes FROM user_used_refresh_tokens) u",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();

    assert!(!row.to_lowercase().contains(token), "{row}");
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

async fn end(client: &Client, path: &str, proof: Value) -> Answer {
    client.send(client.request(Method::DELETE, path).json(&proof)).await
}

#[tokio::test]
async fn an_old_login_needs_the_password_to_end_other_sessions() {
    let app = TestApp::start().await;
    let (ann, desk) = (app.person("ann").await, app.log_in("ann").await);
    app.execute("UPDATE user_sessions SET created_at = created_at - INTERVAL 11 MINUTE").await;
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let path = |current: bool| {
        let session = sessions.as_array().unwrap().iter().find(|session| session["current"] == current).unwrap();
        format!("/auth/sessions/{}", session["sid"].as_str().unwrap())
    };

    assert_eq!(ann.client.delete(&path(false)).await.expect(403)["error"], "REAUTHENTICATION_REQUIRED");
    assert_eq!(end(&ann.client, &path(false), json!({})).await.expect(403)["error"], "REAUTHENTICATION_REQUIRED");
    end(&ann.client, &path(false), Value::Null).await.expect(403);
    end(&ann.client, &path(false), json!({"current_password": "Wrong123!"})).await.expect(400);
    end(&ann.client, &path(false), json!({"current_password": 1})).await.expect(422);
    desk.client.get("/profile/me").await.expect(200);

    end(&ann.client, &path(false), json!({"current_password": PASSWORD})).await.expect(200);
    desk.client.get("/profile/me").await.expect(401);
    ann.client.delete(&path(true)).await.expect(200);
    ann.client.get("/profile/me").await.expect(401);
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
