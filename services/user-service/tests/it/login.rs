//! Logging in and out.

use std::time::Duration;

use common::auth::AccessClaims;
use serde_json::{Value, json};
use testkit::{SLACK, eventually};

use crate::stage::{PASSWORD, Stage};

#[tokio::test]
async fn form_and_json_log_in_alike() {
    let stage = Stage::start().await;
    let id = stage.register("ann").await["id"].clone();
    let anyone = stage.stranger();
    let json = json!({"email": "ANN@example.com", "password": PASSWORD});

    let answers = [
        anyone.post_form("/auth/login", &[("username", "ann@example.com"), ("password", PASSWORD)]).await,
        anyone.post("/auth/login", json.clone()).await,
        anyone.post("/api/auth/login/json", json).await,
    ];

    for answer in answers {
        let token = answer.expect(200);
        assert_eq!(token["token_type"], "bearer");
        assert_eq!(token["expires_in"], 7200);
        assert_eq!(token["user_id"], id);
        assert_eq!(token["refresh_token"].as_str().unwrap().len(), 64);
        assert!(token["refresh_expires_in"].as_u64().unwrap() > 7200);
        let me = stage.server.client(token["access_token"].as_str().unwrap());
        assert_eq!(me.get("/profile/me").await.expect(200)["id"], id);
    }
}

#[tokio::test]
async fn wrong_password_and_unknown_account_are_one_answer() {
    let stage = Stage::start().await;
    stage.register("ann").await;
    let refused = async |email: &str, password: &str| {
        let answer = stage.stranger().post("/auth/login/json", json!({"email": email, "password": password})).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let mut body = answer.expect(401);
        body.as_object_mut().unwrap().remove("request_id");
        body
    };

    let wrong = refused("ann@example.com", "Passw0rd?").await;

    assert_eq!(wrong["message"], "Invalid email or password");
    assert_eq!(wrong["detail"]["error"], "authentication_error");
    assert_eq!(wrong, refused("nobody@example.com", PASSWORD).await);
}

#[tokio::test]
async fn a_malformed_e_mail_is_no_login() {
    let stage = Stage::start().await;
    let anyone = stage.stranger();

    anyone.post("/auth/login/json", json!({"email": "ann", "password": PASSWORD})).await.expect(422);
    anyone.post("/auth/login/json", json!({"email": "ann@example.com"})).await.expect(422);
    anyone.post_form("/auth/login", &[("username", "ann"), ("password", PASSWORD)]).await.expect(422);
    let xml = anyone.request(reqwest::Method::POST, "/auth/login").header("content-type", "text/xml").body("<a/>");
    anyone.send(xml).await.expect(422);
}

#[tokio::test]
async fn a_deactivated_account_is_told_so_only_after_the_right_password() {
    let stage = Stage::start().await;
    stage.register("ann").await;
    stage.execute("UPDATE users SET is_active = FALSE").await;
    let login = async |password: &str| {
        stage.stranger().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
    };

    assert_eq!(login(PASSWORD).await.expect(403)["error"], "authorization_error");
    login("Passw0rd?").await.expect(401);
}

#[tokio::test]
async fn deactivation_by_an_operator_ends_what_is_open_and_can_be_taken_back() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let bob = stage.person("bob").await;
    ann.client.get("/profile/me").await.expect(200);
    assert_eq!(bob.client.get("/users/search?query=ann").await.expect(200)["total_count"], 1);

    stage.execute("UPDATE users SET is_active = FALSE WHERE username = 'ann'").await;
    let started = std::time::Instant::now();
    eventually("ann is refused", || async { (ann.client.get("/profile/me").await.status == 401).then_some(()) }).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    stage.stranger().post("/auth/refresh", refresh).await.expect(401);
    eventually("ann is not found", || async {
        (bob.client.get("/users/search?query=ann").await.body["total_count"] == 0).then_some(())
    })
    .await;

    bob.client.get(&format!("/users/{}", ann.id)).await.expect(200);
    stage.execute("UPDATE users SET is_active = TRUE").await;
    eventually("ann is back", || async { ann.client.get("/profile/me").await.ok().then_some(()) }).await;
    eventually("ann is found", || async {
        let found = bob.client.get("/users/search?query=ann").await.expect(200);
        (found["total_count"] == 1 && found["users"][0]["username"] == "ann").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_logout_ends_the_session_everywhere() {
    let stage = Stage::start().await;
    let other = stage.replica().await;
    let ann = stage.person("ann").await;
    let elsewhere = other.client(ann.client.token());
    elsewhere.get("/profile/me").await.expect(200);

    let answer = ann.client.post("/auth/logout", Value::Null).await.expect(200);

    assert_eq!(answer, json!({"message": "Successfully logged out", "user_id": ann.id}));
    ann.client.get("/profile/me").await.expect(401);
    let started = std::time::Instant::now();
    eventually("the other replica knows", || async {
        (elsewhere.get("/profile/me").await.status == 401).then_some(())
    })
    .await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    stage.stranger().post("/auth/refresh", refresh).await.expect(401);
}

#[tokio::test]
async fn a_logout_leaves_other_sessions_open() {
    let stage = Stage::start().await;
    let phone = stage.person("ann").await;
    let desk = stage.log_in("ann").await;

    phone.client.post("/auth/logout", Value::Null).await.expect(200);

    desk.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn ended_sessions_stay_ended_when_redis_forgets() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let original = stage.server.client(&originals_token(&stage, ann.id));
    for client in [&ann.client, &original] {
        client.post("/auth/logout", Value::Null).await.expect(200);
    }

    stage.wipe_redis().await;

    // A replica that remembers nothing.
    let other = stage.replica().await;
    for token in [ann.client.token(), original.token()] {
        let client = other.client(token);
        eventually("refused again", || async { (client.get("/profile/me").await.status == 401).then_some(()) }).await;
    }
}

#[tokio::test]
async fn tokens_of_the_original_are_taken_until_their_logout() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let client = stage.server.client(&originals_token(&stage, ann.id));

    client.get("/profile/me").await.expect(200);
    client.post("/auth/logout", Value::Null).await.expect(200);

    client.get("/profile/me").await.expect(401);
    ann.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_that_counts() {
    let stage = Stage::start().await;
    let forged = stage.stranger().with_header("x-user-id", "1").with_header("x-user-email", "ann@example.com");

    for client in [stage.stranger(), stage.server.client("x.y.z"), forged] {
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
async fn a_token_whose_account_is_gone_finds_no_user() {
    let stage = Stage::start().await;
    let ghost = stage.server.client(&stage.space.token(4711, "ghost"));

    for path in ["/profile/me", "/auth/sessions", "/users/search?query=a", "/users/4711", "/users?user_ids=1"] {
        assert_eq!(ghost.get(path).await.expect(404)["message"], "User not found", "{path}");
    }
    ghost.post("/auth/logout", Value::Null).await.expect(404);
    ghost.post("/auth/heartbeat", Value::Null).await.expect(404);
    ghost.put("/profile/me", json!({"display_name": "x"})).await.expect(404);
    ghost.put("/auth/password", json!({"current_password": PASSWORD, "new_password": PASSWORD})).await.expect(404);
}

#[tokio::test]
async fn a_replaced_secret_logs_nobody_out() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let old = stage.server.platform().config.secret_key.expose().to_owned();
    let new = [("SECRET_KEY", "a-new-secret-that-only-the-tests-know-012345")];

    let rotated = stage.replica_with(&[new[0], ("SECRET_KEY_PREVIOUS", &old)]).await;
    let dropped = stage.replica_with(&new).await;

    rotated.client(ann.client.token()).get("/profile/me").await.expect(200);
    dropped.client(ann.client.token()).get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn an_access_token_says_who_in_the_originals_words() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;

    let claims = common::auth::Tokens::new(&stage.server.platform().config).verify(ann.client.token()).unwrap();

    let AccessClaims { sub, email, username, kind, iss, .. } = claims;
    assert_eq!((sub, kind.as_str()), (ann.id.to_string(), "access"));
    assert_eq!((email.as_deref(), username.as_deref()), (Some("ann@example.com"), Some("ann")));
    assert_eq!(iss.as_deref(), Some("bigtech-chat"));
}

/// By the original's recipe: sub, email, exp, type, and nothing else.
pub fn originals_token(stage: &Stage, user: i64) -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let secret = &stage.server.platform().config.secret_key;
    let exp = chrono::Utc::now().timestamp() + 600;
    let claims = json!({"sub": user.to_string(), "email": "ann@example.com", "exp": exp, "type": "access"});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.expose().as_bytes())).unwrap()
}
