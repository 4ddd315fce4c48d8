//! Equality of e-mail addresses: one canonical form for uniqueness, look-up and limits.

use serde_json::{Value, json};
use testkit::{Answer, Space, eventually};

use crate::app::{PASSWORD, TestApp};

async fn register(app: &TestApp, email: &str, username: &str) -> Answer {
    let new = json!({"email": email, "username": username, "password": PASSWORD});
    app.anonymous().post("/auth/register", new).await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
    app.anonymous().post("/auth/login/json", json!({"email": email, "password": password})).await
}

/// An app whose table of accounts the original created, with its collation.
async fn app_on_original_table() -> TestApp {
    let space = Space::new();
    let mysql_url = space.schema("user").await;
    let app = TestApp::start_in(space, mysql_url, &[]).await;
    app.execute("ALTER TABLE users MODIFY COLUMN email VARCHAR(255) COLLATE utf8mb4_general_ci NOT NULL").await;
    app
}

/// Inserts an account as the original does, with the hash of an account that exists.
pub async fn insert_as_original(app: &TestApp, email: &str, username: &str) -> i64 {
    sqlx::query(
        "INSERT INTO users (email, password_hash, username, display_name, status_message, is_online, last_seen_at,
         is_active, created_at, updated_at)
         SELECT ?, password_hash, ?, NULL, NULL, 0, NULL, 1, NOW(), NOW() FROM users WHERE username = 'ann'",
    )
    .bind(email)
    .bind(username)
    .execute(&app.pool)
    .await
    .unwrap()
    .last_insert_id() as i64
}

async fn form(app: &TestApp, user: i64) -> Option<String> {
    sqlx::query_scalar("SELECT email_canonical FROM users WHERE id = ?").bind(user).fetch_one(&app.pool).await.unwrap()
}

async fn is_filled(app: &TestApp, user: i64) {
    eventually("the form is filled in", || async { form(app, user).await.map(drop) }).await;
}

#[tokio::test]
async fn an_address_with_a_line_break_is_invalid_everywhere() {
    let app = TestApp::start().await;
    register(&app, "ann@example.com", "ann").await.expect(201);

    for email in ["ann@example.com\n", "ann@example.com\r\n", "\nann@example.com", "ann@example.com\u{2028}"] {
        let form = app.anonymous().post_form("/auth/login", &[("username", email), ("password", PASSWORD)]).await;
        let json = app.anonymous().post("/auth/login", json!({"email": email, "password": PASSWORD})).await;
        for answer in [register(&app, email, "bob").await, log_in(&app, email, PASSWORD).await, json, form] {
            assert_eq!(answer.expect(422)["detail"][0]["loc"], json!(["body", "email"]), "{email:?}");
        }
    }
    log_in(&app, " ann@example.com ", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn every_spelling_of_an_address_logs_in_to_its_account() {
    let app = TestApp::start().await;
    let ann = register(&app, "Ann@éxample.com", "ann").await.expect(201);
    assert_eq!(ann["email"], "Ann@éxample.com");

    for spelling in ["ann@éxample.com", "ANN@ÉXAMPLE.COM", "ａｎｎ@éxample.com", "ann@xn--xample-9ua.com"] {
        assert_eq!(log_in(&app, spelling, PASSWORD).await.expect(200)["user_id"], ann["id"], "{spelling}");
        assert_eq!(register(&app, spelling, "other").await.expect(409)["message"], "Email already registered");
    }
}

#[tokio::test]
async fn an_accent_a_dot_or_a_plus_sign_makes_another_address() {
    let app = TestApp::start().await;
    register(&app, "ann@example.com", "ann").await.expect(201);

    for other in ["añn@example.com", "ann@éxample.com", "a.nn@example.com", "ann+x@example.com"] {
        log_in(&app, other, PASSWORD).await.expect(401);
    }
    let dotted = register(&app, "a.nn@example.com", "dotted").await.expect(201);
    assert_eq!(log_in(&app, "A.NN@example.com", PASSWORD).await.expect(200)["user_id"], dotted["id"]);
}

#[tokio::test]
async fn all_spellings_share_one_budget_of_failures() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3")]).await;
    register(&app, "ann@éxample.com", "ann").await.expect(201);
    for domain in ["éxample.com", "ÉXAMPLE.com", "xn--xample-9ua.com"] {
        for local in ["ANN", "ａｎonymous"] {
            log_in(&app, &format!("{local}@{domain}"), "wrong").await.expect(401);
        }
    }

    for email in ["ann@éxample.com", "anonymous@éxample.com"] {
        log_in(&app, email, PASSWORD).await.expect(429);
    }
}

#[tokio::test]
async fn an_account_of_a_running_original_logs_in_before_and_after_the_backfill() {
    let app = app_on_original_table().await;
    let ann = register(&app, "ann@example.com", "ann").await.expect(201);
    let bob = insert_as_original(&app, "Bob@예시.한국", "bob").await;

    assert_eq!(log_in(&app, "bob@예시.한국", PASSWORD).await.expect(200)["user_id"], bob);
    log_in(&app, "böb@예시.한국", PASSWORD).await.expect(401);

    is_filled(&app, bob).await;
    assert_eq!(log_in(&app, "BOB@xn--vv4b11d.xn--3e0b707e", PASSWORD).await.expect(200)["user_id"], bob);
    assert_eq!(register(&app, "ｂｏｂ@예시.한국", "other").await.expect(409)["message"], "Email already registered");
    assert_eq!(form(&app, ann["id"].as_i64().unwrap()).await.as_deref(), Some("ann@example.com"));
}

#[tokio::test]
async fn colliding_accounts_of_an_original_keep_working_by_their_exact_spelling() {
    let app = app_on_original_table().await;
    register(&app, "ann@example.com", "ann").await.expect(201);
    let older = insert_as_original(&app, "Bob@예시.한국", "bob").await;
    let newer = insert_as_original(&app, "Bob@xn--vv4b11d.xn--3e0b707e", "bob2").await;
    let last = insert_as_original(&app, "cat@example.com", "cat").await;
    let user = async |spelling: &str| log_in(&app, spelling, PASSWORD).await.expect(200)["user_id"].clone();

    is_filled(&app, last).await;

    assert_eq!(form(&app, newer).await, None);
    for spelling in ["Bob@예시.한국", "bob@예시.한국", "bob@xn--vv4b11d.xn--3e0b707e"] {
        assert_eq!(user(spelling).await, Value::from(older), "{spelling}");
    }
    assert_eq!(user("Bob@xn--vv4b11d.xn--3e0b707e").await, Value::from(newer));
    assert_eq!(register(&app, "bob@예시.한국", "other").await.expect(409)["message"], "Email already registered");
}
