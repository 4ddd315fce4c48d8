//! Login, logout and access tokens.

use std::time::Duration;

use common::jwt::{AccessClaims, AccessTokens};
use insta::{allow_duplicates, assert_json_snapshot};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::{SLACK, eventually};

use crate::app::{PASSWORD, TestApp};

#[tokio::test]
async fn a_form_and_json_log_in_alike() {
    let app = TestApp::start().await;
    let id = app.register("ann").await["id"].clone();
    let anonymous = app.anonymous();
    let json = json!({"email": "ANN@example.com", "password": PASSWORD});
    let part =
        |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts = ["grant_type", "username", "password"].into_iter().zip(["password", "ann@example.com", PASSWORD]);
    let parts: String = parts.map(|(name, value)| part(name, value)).collect();
    let multipart = anonymous.request(Method::POST, "/auth/login").body(format!("{parts}--x--\r\n"));

    let answers = [
        anonymous.send(multipart.header("content-type", "multipart/form-data; boundary=x")).await,
        anonymous.post_form("/auth/login", &[("username", "ann@example.com"), ("password", PASSWORD)]).await,
        anonymous.post("/auth/login", json.clone()).await,
        anonymous.post("/api/auth/login/json", json).await,
    ];

    let tokens = answers.map(|answer| answer.expect(200));
    for token in &tokens {
        assert_eq!(token["user_id"], id);
        assert_eq!(token["refresh_token"].as_str().unwrap().len(), 64);
        let me = app.server.client(token["access_token"].as_str().unwrap());
        assert_eq!(me.get("/profile/me").await.expect(200)["id"], id);
    }
    allow_duplicates! {
        for token in &tokens {
            assert_json_snapshot!(token, {
                ".access_token" => "[token]", ".refresh_token" => "[token]", ".user_id" => "[id]",
            }, @r#"
            {
              "access_token": "[token]",
              "expires_in": 7200,
              "refresh_expires_in": 2592000,
              "refresh_token": "[token]",
              "token_type": "bearer",
              "user_id": "[id]"
            }
            "#);
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_get_the_same_answer() {
    let app = TestApp::start().await;
    app.register("ann").await;
    let refused = async |email: &str, password: &str| {
        let answer = app.anonymous().post("/auth/login/json", json!({"email": email, "password": password})).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let mut body = answer.expect(401);
        body.as_object_mut().unwrap().remove("request_id");
        body
    };

    let wrong = refused("ann@example.com", "Passw0rd?").await;

    assert_json_snapshot!(wrong, @r#"
    {
      "detail": {
        "details": null,
        "error": "authentication_error",
        "message": "Invalid email or password",
        "status_code": 401
      },
      "details": null,
      "error": "authentication_error",
      "message": "Invalid email or password",
      "status_code": 401
    }
    "#);
    assert_eq!(wrong, refused("nobody@example.com", PASSWORD).await);
}

#[tokio::test]
async fn a_malformed_login_is_rejected() {
    let app = TestApp::start().await;
    let anonymous = app.anonymous();

    anonymous.post("/auth/login/json", json!({"email": "ann", "password": PASSWORD})).await.expect(422);
    anonymous.post("/auth/login/json", json!({"email": "ann@example.com"})).await.expect(422);
    anonymous.post_form("/auth/login", &[("username", "ann"), ("password", PASSWORD)]).await.expect(422);
    let xml = anonymous.request(reqwest::Method::POST, "/auth/login").header("content-type", "text/xml").body("<a/>");
    anonymous.send(xml).await.expect(422);
}

#[tokio::test]
async fn only_the_right_password_reveals_that_an_account_is_deactivated() {
    let app = TestApp::start().await;
    app.register("ann").await;
    app.execute("UPDATE users SET is_active = FALSE").await;
    let login = async |password: &str| {
        app.anonymous().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
    };

    assert_eq!(login(PASSWORD).await.expect(403)["error"], "authorization_error");
    login("Passw0rd?").await.expect(401);
}

#[tokio::test]
async fn deactivation_by_an_operator_ends_all_sessions_for_good() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let bob = app.person("bob").await;
    ann.client.get("/profile/me").await.expect(200);
    assert_eq!(bob.client.get("/users/search?query=ann").await.expect(200)["total_count"], 1);

    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'ann'").await;
    let started = std::time::Instant::now();
    eventually("ann is refused", || async { (ann.client.get("/profile/me").await.status == 401).then_some(()) }).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    app.anonymous().post("/auth/refresh", refresh).await.expect(401);
    eventually("ann is not found", || async {
        (bob.client.get("/users/search?query=ann").await.body["total_count"] == 0).then_some(())
    })
    .await;

    bob.client.get(&format!("/users/{}", ann.id)).await.expect(200);
    app.execute("UPDATE users SET is_active = TRUE").await;
    let again = app.log_in_when_available("ann").await;
    ann.client.get("/profile/me").await.expect(401);
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    app.anonymous().post("/auth/refresh", refresh).await.expect(401);
    again.client.get("/profile/me").await.expect(200);
    eventually("ann is found", || async {
        let found = bob.client.get("/users/search?query=ann").await.expect(200);
        (found["total_count"] == 1 && found["users"][0]["username"] == "ann").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_logout_ends_the_session_on_every_replica() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ann = app.person("ann").await;
    let elsewhere = other.client(ann.client.token());
    elsewhere.get("/profile/me").await.expect(200);

    let answer = ann.client.post("/auth/logout", Value::Null).await.expect(200);

    assert_eq!(answer, json!({"message": "Successfully logged out", "user_id": ann.id}));
    ann.client.get("/profile/me").await.expect(401);
    let started = std::time::Instant::now();
    eventually("the other replica refuses the token", || async {
        (elsewhere.get("/profile/me").await.status == 401).then_some(())
    })
    .await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    app.anonymous().post("/auth/refresh", refresh).await.expect(401);
}

#[tokio::test]
async fn a_logout_keeps_other_sessions() {
    let app = TestApp::start().await;
    let phone = app.person("ann").await;
    let desk = app.log_in("ann").await;

    phone.client.post("/auth/logout", Value::Null).await.expect(200);

    desk.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn ended_sessions_stay_ended_after_redis_lost_its_data() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let original = app.server.client(&original_token(&app, ann.id));
    for client in [&ann.client, &original] {
        client.post("/auth/logout", Value::Null).await.expect(200);
    }

    // The new replica has nothing cached.
    let other = app.replica().await;
    app.wipe_redis().await;

    for token in [ann.client.token(), original.token()] {
        other.client(token).get("/profile/me").await.expect(401);
    }
}

#[tokio::test]
async fn tokens_of_the_original_are_valid_until_their_logout() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let client = app.server.client(&original_token(&app, ann.id));

    client.get("/profile/me").await.expect(200);
    client.post("/auth/logout", Value::Null).await.expect(200);

    client.get("/profile/me").await.expect(401);
    ann.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn requests_without_a_valid_token_are_unauthenticated() {
    let app = TestApp::start().await;
    let forged = app.anonymous().with_header("x-user-id", "1").with_header("x-user-email", "ann@example.com");

    for client in [app.anonymous(), app.server.client("x.y.z"), forged] {
        for path in ["/profile/me", "/profile/x", "/users/x", "/users?user_ids=x", "/users/search", "/auth/sessions"] {
            let answer = client.get(path).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
            assert_eq!(answer.expect(401)["detail"], "Not authenticated", "{path}");
        }
        client.put("/profile/me", json!({"display_name": 5})).await.expect(401);
        client.put("/auth/password", json!({})).await.expect(401);
        client.post("/auth/logout", Value::Null).await.expect(401);
        client.post("/auth/heartbeat", Value::Null).await.expect(401);
    }
}

#[tokio::test]
async fn a_token_of_a_missing_account_gets_user_not_found() {
    let app = TestApp::start().await;
    let ghost = app.server.client(&app.space.token(4711, "ghost"));

    for path in ["/profile/me", "/auth/sessions", "/users/search?query=a", "/users/4711", "/users?user_ids=1"] {
        assert_eq!(ghost.get(path).await.expect(404)["message"], "User not found", "{path}");
    }
    ghost.post("/auth/logout", Value::Null).await.expect(404);
    ghost.post("/auth/heartbeat", Value::Null).await.expect(404);
    ghost.put("/profile/me", json!({"display_name": "x"})).await.expect(404);
    ghost.put("/auth/password", json!({"current_password": PASSWORD, "new_password": PASSWORD})).await.expect(404);
}

#[tokio::test]
async fn tokens_stay_valid_while_their_secret_is_the_previous_one() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let old = app.server.platform().config.secret_key.as_ref().unwrap().expose_secret().to_owned();
    let new = [("SECRET_KEY", "a-new-secret-that-only-the-tests-know-012345")];

    let rotated = app.replica_with(&[new[0], ("SECRET_KEY_PREVIOUS", &old)]).await;
    let dropped = app.replica_with(&new).await;

    rotated.client(ann.client.token()).get("/profile/me").await.expect(200);
    dropped.client(ann.client.token()).get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn an_access_token_has_the_claims_of_the_original() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    let config = &app.server.platform().config;
    let tokens = AccessTokens::new(config.secret_key.as_ref().unwrap(), None, config.access_token_lifetime);
    let claims = tokens.verify(ann.client.token()).unwrap();

    let AccessClaims { sub, email, username, kind, iss, .. } = claims;
    assert_eq!((sub, kind.as_str()), (ann.id.to_string(), "access"));
    assert_eq!((email.as_deref(), username.as_deref()), (Some("ann@example.com"), Some("ann")));
    assert_eq!(iss.as_deref(), Some("bigtech-chat"));
}

/// An access token with the claims that the original issues and no others.
pub fn original_token(app: &TestApp, user: i64) -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let secret = app.server.platform().config.secret_key.as_ref().unwrap();
    let exp = chrono::Utc::now().timestamp() + 600;
    let claims = json!({"sub": user.to_string(), "email": "ann@example.com", "exp": exp, "type": "access"});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.expose_secret().as_bytes())).unwrap()
}
