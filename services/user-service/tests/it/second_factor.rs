//! The second factor of a login: codes of an authenticator app, and recovery codes.

use chrono::Utc;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, redis_link};
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use crate::app::{PASSWORD, Person, TestApp};

/// The code of an authenticator app, some seconds from now.
pub fn code(secret: &str, seconds: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_secret(secret.as_bytes().to_vec()).build_noncompliant();
    totp.generate((Utc::now().timestamp() + seconds).unsigned_abs()).to_string()
}

/// A code that is wrong in every accepted step.
pub fn wrong_code(secret: &str) -> String {
    let right: Vec<String> = [-60, -30, 0, 30, 60].map(|seconds| code(secret, seconds)).into();
    let mut candidates = (0..10).map(|n| format!("{n:06}"));
    candidates.find(|candidate| !right.contains(candidate)).unwrap()
}

/// Enables the second factor of a user. Returns the secret and the recovery codes.
pub async fn enable(ann: &Person) -> (String, Vec<String>) {
    let enrolled = ann.client.post("/auth/mfa", json!({"current_password": PASSWORD})).await.expect(201);
    let secret = enrolled["secret"].as_str().unwrap().to_owned();
    let body = json!({"code": code(&secret, 0)});
    let confirmed = ann.client.post("/auth/mfa/confirm", body).await.expect(200);
    let codes: Vec<String> = serde_json::from_value(confirmed["recovery_codes"].clone()).unwrap();
    (secret, codes)
}

fn login(code: Option<&str>) -> Value {
    let mut body = json!({"email": "ann@example.com", "password": PASSWORD});
    if let Some(code) = code {
        body["mfa_code"] = code.into();
    }
    body
}

async fn try_login(client: &Client, code: Option<&str>) -> (u16, Value) {
    let answer = client.post("/auth/login/json", login(code)).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_login_needs_a_code_once_the_factor_is_confirmed() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let enrolled = ann.client.post("/auth/mfa", json!({"current_password": PASSWORD})).await.expect(201);
    let secret = enrolled["secret"].as_str().unwrap();
    assert!(enrolled["otpauth_url"].as_str().unwrap().starts_with("otpauth://totp/"), "{enrolled}");
    app.log_in("ann").await;

    ann.client.post("/auth/mfa/confirm", json!({"code": wrong_code(secret)})).await.expect(400);
    app.log_in("ann").await;
    ann.client.post("/auth/mfa/confirm", json!({"code": code(secret, 0)})).await.expect(200);

    let (status, body) = try_login(&app.anonymous(), None).await;
    assert_eq!((status, &body["error"]), (401, &json!("MFA_REQUIRED")));
    let (status, body) = try_login(&app.anonymous(), Some(&wrong_code(secret))).await;
    assert_eq!((status, &body["error"]), (401, &json!("MFA_INVALID")));
    assert_eq!(try_login(&app.anonymous(), Some(&code(secret, 30))).await.0, 200);
    let status = ann.client.get("/auth/mfa").await.expect(200);
    assert_eq!(status, json!({"enabled": true, "recovery_codes_left": 10}));
}

#[tokio::test]
async fn the_form_of_the_password_flow_takes_the_code() {
    let app = TestApp::start().await;
    let (secret, _) = enable(&app.person("ann").await).await;
    let log_in = async |code: &str| {
        let form = [("username", "ann@example.com"), ("password", PASSWORD), ("mfa_code", code)];
        app.anonymous().post_form("/auth/login", &form).await.status
    };
    assert_eq!(log_in(&wrong_code(&secret)).await, 401);
    assert_eq!(log_in(&code(&secret, 30)).await, 200);
}

#[tokio::test]
async fn a_wrong_password_does_not_show_that_the_account_has_a_second_factor() {
    let app = TestApp::start().await;
    let (secret, _) = enable(&app.person("ann").await).await;
    let mut body = login(Some(&code(&secret, 30)));
    body["password"] = "Wr0ng-password!".into();
    let answer = app.anonymous().post("/auth/login/json", body).await.expect(401);
    assert_eq!(answer["message"], "Invalid email or password");
}

#[tokio::test]
async fn each_code_is_accepted_once() {
    let app = TestApp::start().await;
    let (secret, recovery) = enable(&app.person("ann").await).await;
    let anonymous = app.anonymous();
    // The code of the confirmation.
    assert_eq!(try_login(&anonymous, Some(&code(&secret, 0))).await.0, 401);

    let next = code(&secret, 30);
    let answers = join_all((0..8).map(|_| try_login(&anonymous, Some(&next)))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");

    app.execute("UPDATE user_second_factors SET last_step = 0").await;
    let answers = join_all((0..2).map(|_| try_login(&anonymous, Some(&recovery[0])))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn wrong_codes_are_limited_as_wrong_passwords_are() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3")]).await;
    let (secret, recovery) = enable(&app.person("ann").await).await;
    for _ in 0..3 {
        assert_eq!(try_login(&app.anonymous(), Some(&wrong_code(&secret))).await.0, 401);
    }
    assert_eq!(try_login(&app.anonymous(), Some(&recovery[0])).await.0, 429);
}

#[tokio::test]
async fn concurrent_codes_are_not_more_than_the_budget_allows() {
    let no_other_limits = [("LOGIN_LIMIT_ADDRESS_FAILURES", "0"), ("LOGIN_LIMIT_ACCOUNT_FAILURES", "0")];
    let settings = [no_other_limits[0], no_other_limits[1], ("LOGIN_LIMIT_PASSWORD_FAILURES", "3")];
    let app = TestApp::start_with(&settings).await;
    let (secret, _) = enable(&app.person("ann").await).await;
    let (anonymous, wrong) = (app.anonymous(), wrong_code(&secret));

    let answers = join_all((0..30).map(|_| try_login(&anonymous, Some(&wrong)))).await;

    let of_status = |status| answers.iter().filter(|(answered, _)| *answered == status).count();
    assert_eq!((of_status(401), of_status(429)), (3, 27), "{answers:?}");
}

#[tokio::test]
async fn codes_are_limited_without_redis_until_the_window_has_passed() {
    let (link, through_link) = redis_link().await;
    let [(name, url)] = &through_link;
    let app = TestApp::start_with(&[("LOGIN_LIMIT_PASSWORD_FAILURES", "3"), (name, url)]).await;
    let ann = app.person("ann").await;
    let (secret, _) = enable(&ann).await;
    link.set_faulty(true);
    let (anonymous, wrong) = (app.anonymous(), wrong_code(&secret));

    let answers = join_all((0..20).map(|_| try_login(&anonymous, Some(&wrong)))).await;

    let of_status = |status| answers.iter().filter(|(answered, _)| *answered == status).count();
    assert_eq!((of_status(401), of_status(429)), (3, 17), "{answers:?}");
    let right = code(&secret, 30);
    let refused = anonymous.post("/auth/login/json", login(Some(&right))).await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((600..=900).contains(&wait), "{wait}");
    refused.expect(429);
    let both = json!({"current_password": PASSWORD, "code": right});
    ann.client.post("/auth/mfa/disable", both).await.expect(429);

    app.execute("UPDATE user_second_factors SET failed_since = failed_since - INTERVAL 15 MINUTE").await;
    assert_eq!(try_login(&anonymous, Some(&right)).await.0, 200);
    assert_eq!(try_login(&anonymous, Some(&wrong)).await.0, 401);
}

#[tokio::test]
async fn wrong_codes_of_a_thief_do_not_keep_the_owner_of_a_recovery_code_out() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_PASSWORD_FAILURES", "2")]).await;
    let ann = app.person("ann").await;
    let (secret, recovery) = enable(&ann).await;
    let thief = app.anonymous().with_header("x-forwarded-for", "203.0.113.9");
    for _ in 0..2 {
        assert_eq!(try_login(&thief, Some(&wrong_code(&secret))).await.0, 401);
    }
    assert_eq!(try_login(&thief, Some(&code(&secret, 30))).await.0, 429);

    let change = |code: &str| json!({"current_password": PASSWORD, "new_password": "Another1234!@", "code": code});
    ann.client.put("/auth/password", change(&code(&secret, 30))).await.expect(429);
    ann.client.put("/auth/password", change(&recovery[0])).await.expect(200);
}

#[tokio::test]
async fn a_login_without_a_code_counts_until_one_succeeds() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "2")]).await;
    let (secret, recovery) = enable(&app.person("ann").await).await;
    let anonymous = app.anonymous();
    for recovery in &recovery[..2] {
        assert_eq!(try_login(&anonymous, None).await.1["error"], "MFA_REQUIRED");
        assert_eq!(try_login(&anonymous, Some(recovery)).await.0, 200);
    }
    for _ in 0..2 {
        assert_eq!(try_login(&anonymous, None).await.0, 401);
    }

    assert_eq!(try_login(&anonymous, None).await.0, 429);
    let elsewhere = anonymous.with_header("x-forwarded-for", "203.0.113.1");
    assert_eq!(try_login(&elsewhere, Some(&code(&secret, 30))).await.0, 200);
}

#[tokio::test]
async fn a_login_beyond_the_limit_of_logins_uses_no_code_up() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_SUCCESSES", "2")]).await;
    let ann = app.person("ann").await;
    let (_, recovery) = enable(&ann).await;
    assert_eq!(try_login(&app.anonymous(), Some(&recovery[0])).await.0, 200);

    assert_eq!(try_login(&app.anonymous(), Some(&recovery[1])).await.0, 429);

    assert_eq!(ann.client.get("/auth/mfa").await.expect(200)["recovery_codes_left"], 9);
}

#[tokio::test]
async fn a_login_before_a_reactivation_is_known_uses_no_code_up() {
    // Without Redis, the reactivation stays unknown.
    let (link, through_link) = redis_link().await;
    let [(name, url)] = &through_link;
    let app = TestApp::start_with(&[(name, url)]).await;
    let ann = app.person("ann").await;
    let (_, recovery) = enable(&ann).await;
    link.set_faulty(true);
    app.execute("INSERT INTO user_deactivations (user_id) SELECT id FROM users WHERE username = 'ann'").await;

    assert_eq!(try_login(&app.anonymous(), Some(&recovery[0])).await.0, 503);

    app.execute("DELETE FROM user_deactivations").await;
    assert_eq!(try_login(&app.anonymous(), Some(&recovery[0])).await.0, 200);
}

#[tokio::test]
async fn a_right_code_restores_the_budget_of_codes() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_PASSWORD_FAILURES", "2")]).await;
    let (secret, recovery) = enable(&app.person("ann").await).await;
    for code in &recovery[..3] {
        assert_eq!(try_login(&app.anonymous(), Some(&wrong_code(&secret))).await.0, 401);
        assert_eq!(try_login(&app.anonymous(), Some(code)).await.0, 200);
    }
}

#[tokio::test]
async fn the_factor_is_disabled_and_replaced_only_with_both_factors() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let (secret, recovery) = enable(&ann).await;
    let enrollment = json!({"current_password": PASSWORD});
    ann.client.post("/auth/mfa", enrollment.clone()).await.expect(409);
    let both = |password: &str, code: &str| json!({"current_password": password, "code": code});
    ann.client.post("/auth/mfa/disable", both("Wr0ng-password!", &recovery[0])).await.expect(400);
    ann.client.post("/auth/mfa/disable", both(PASSWORD, "00000-00000-00000-00000")).await.expect(400);

    ann.client.post("/auth/mfa/recovery-codes", both(PASSWORD, &recovery[0])).await.expect(400);
    let status = ann.client.get("/auth/mfa").await.expect(200);
    assert_eq!(status["recovery_codes_left"], 10, "a refused renewal uses no code up");
    let renewed = ann.client.post("/auth/mfa/recovery-codes", both(PASSWORD, &code(&secret, 30))).await.expect(200);
    ann.client.post("/auth/mfa/disable", both(PASSWORD, &recovery[1])).await.expect(400);
    let new = renewed["recovery_codes"][0].as_str().unwrap();
    ann.client.post("/auth/mfa/disable", both(PASSWORD, new)).await.expect(200);

    app.log_in("ann").await;
    let status = ann.client.get("/auth/mfa").await.expect(200);
    assert_eq!(status, json!({"enabled": false, "recovery_codes_left": 0}));
    ann.client.post("/auth/mfa", enrollment).await.expect(201);
}

#[tokio::test]
async fn secrets_are_encrypted_and_survive_a_new_key() {
    let app = TestApp::start().await;
    let (secret, recovery) = enable(&app.person("ann").await).await;
    let stored: Vec<u8> =
        sqlx::query_scalar("SELECT secret FROM user_second_factors").fetch_one(&app.pool).await.unwrap();
    let plain = Secret::try_from_base32(&secret).unwrap();
    assert!(!stored.windows(plain.as_bytes().len()).any(|window| window == plain.as_bytes()));

    let new = ("MFA_SECRET_KEY", "another-key-of-second-factors-in-tests");
    let rotated = app.replica_with(&[new, ("MFA_SECRET_KEY_PREVIOUS", "the-key-of-second-factors-in-tests")]).await;
    assert_eq!(try_login(&rotated.client(""), Some(&code(&secret, 30))).await.0, 200);

    let later = app.replica_with(&[new]).await;
    assert_eq!(
        try_login(&later.client(""), Some(&code(&secret, 60))).await.0,
        401,
        "the factor was used with the new key"
    );
    let lost = app.replica_with(&[("MFA_SECRET_KEY", "a-third-key-of-second-factors-in-tests")]).await;
    let without = app.replica_with(&[("MFA_SECRET_KEY", "")]).await;
    for replica in [&lost, &without] {
        let (status, body) = try_login(&replica.client(""), Some(&code(&secret, 60))).await;
        assert_eq!((status, &body["error"]), (403, &json!("MFA_UNAVAILABLE")));
    }
    assert_eq!(try_login(&lost.client(""), Some(&recovery[0])).await.0, 200);
    assert_eq!(try_login(&without.client(""), Some(&recovery[1])).await.0, 200);
}

#[tokio::test]
async fn without_a_key_no_factor_can_be_enabled() {
    let app = TestApp::start_with(&[("MFA_SECRET_KEY", "")]).await;
    let ann = app.person("ann").await;
    let refused = ann.client.post("/auth/mfa", json!({"current_password": PASSWORD})).await.expect(403);
    assert_eq!(refused["error"], "MFA_UNAVAILABLE");
}

#[tokio::test]
async fn ending_another_session_after_a_while_needs_both_factors() {
    let app = TestApp::start().await;
    let (ann, _desk) = (app.person("ann").await, app.log_in("ann").await);
    let (_, codes) = enable(&ann).await;
    app.execute("UPDATE user_sessions SET created_at = created_at - INTERVAL 11 MINUTE").await;
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/auth/sessions/{}", other["sid"].as_str().unwrap());
    let end = async |proof: Value| ann.client.send(ann.client.request(Method::DELETE, &path).json(&proof)).await;

    assert_eq!(end(json!({"current_password": PASSWORD})).await.expect(403)["error"], "MFA_REQUIRED");
    assert_eq!(end(json!({"code": codes[0]})).await.expect(403)["error"], "REAUTHENTICATION_REQUIRED");
    let answer = end(json!({"current_password": PASSWORD, "code": "000000-not"})).await.expect(400);
    assert_eq!(answer["error"], "MFA_INVALID");
    end(json!({"current_password": PASSWORD, "code": codes[0]})).await.expect(200);
}

#[tokio::test]
async fn a_new_password_needs_the_second_factor_too() {
    let app = TestApp::start().await;
    let (ann, desk) = (app.person("ann").await, app.log_in("ann").await);
    let (_, codes) = enable(&ann).await;
    let change = |code: Option<&str>| {
        let new = "An0ther-passw0rd!";
        ann.client.put("/auth/password", json!({"current_password": PASSWORD, "new_password": new, "code": code}))
    };

    assert_eq!(change(None).await.expect(403)["error"], "MFA_REQUIRED");
    assert_eq!(change(Some("000000-not")).await.expect(400)["error"], "MFA_INVALID");
    desk.client.get("/profile/me").await.expect(200);
    change(Some(&codes[0])).await.expect(200);
    desk.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn a_refused_new_password_uses_no_code_up() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let (_, codes) = enable(&ann).await;
    let strict = app.replica_with(&[("PASSWORD_MIN_GUESSES", "100000")]).await;
    let client = strict.client(ann.client.token());
    let change = async |new: &str, code: Option<&str>| {
        let change = json!({"current_password": PASSWORD, "new_password": new, "code": code});
        client.put("/auth/password", change).await
    };

    change("Passw0rd1!", Some(&codes[0])).await.expect(422);
    assert_eq!(change("Passw0rd1!", None).await.expect(403)["error"], "MFA_REQUIRED");

    assert_eq!(client.get("/auth/mfa").await.expect(200)["recovery_codes_left"], codes.len());
    change("tulips-by-the-dozen-7!", Some(&codes[0])).await.expect(200);
}

#[tokio::test]
async fn the_end_of_an_unknown_session_uses_no_code_up() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let (_, codes) = enable(&ann).await;
    let path = format!("/auth/sessions/{}", Uuid::new_v4());

    let proof = json!({"current_password": PASSWORD, "code": codes[0]});
    ann.client.send(ann.client.request(Method::DELETE, &path).json(&proof)).await.expect(404);

    assert_eq!(ann.client.get("/auth/mfa").await.expect(200)["recovery_codes_left"], codes.len());
}
