//! Password changes and stored hashes.

use serde_json::{Value, json};
use testkit::Answer;

use crate::app::{PASSWORD, TestApp, registration};

const NEW: &str = "An0ther-one!";

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let desk = app.log_in("ann").await;

    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    assert!(ann.client.put("/auth/password", change).await.expect(200)["message"].is_string());

    ann.client.get("/profile/me").await.expect(200);
    desk.client.get("/profile/me").await.expect(401);
    log_in(&app, PASSWORD).await.expect(401);
    log_in(&app, NEW).await.expect(200);
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_valid_new_one() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let change = async |current: &str, new: &str| {
        ann.client.put("/auth/password", json!({"current_password": current, "new_password": new})).await
    };

    assert_eq!(change("Passw0rd?", NEW).await.expect(400)["message"], "Current password is incorrect");
    let answer = change(PASSWORD, "short").await;
    assert!(!answer.text.contains("\"short\""));
    assert_eq!(answer.expect(422)["detail"][0]["loc"], json!(["body", "new_password"]));
    log_in(&app, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_login_rehashes_with_changed_parameters() {
    let app = TestApp::start().await;
    app.register("ann").await;
    assert!(stored(&app).await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));

    let stronger = app.replica_with(&[("ARGON2_ITERATIONS", "2")]).await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD});
    stronger.client("").post("/auth/login/json", login).await.expect(200);

    assert!(stored(&app).await.starts_with("$argon2id$v=19$m=8,t=2,p=1$"));
    log_in(&app, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn with_the_bcrypt_scheme_new_hashes_are_readable_by_the_original() {
    let app = TestApp::start_with(&[("PASSWORD_SCHEME", "bcrypt")]).await;
    app.register("ann").await;

    assert!(stored(&app).await.starts_with("$2b$04$"));
    log_in(&app, PASSWORD).await.expect(200);
    log_in(&app, "Passw0rd?").await.expect(401);
    app.anonymous().post("/auth/login/json", json!({"email": "x@example.com", "password": "x"})).await.expect(401);

    let mut long = registration("bob");
    long["password"] = json!(format!("a1!{}", "x".repeat(70)));
    let answer = app.anonymous().post("/auth/register", long.clone()).await.expect(422);
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "password"]));
    assert_eq!(answer["detail"][0]["input"], Value::Null);
    long["password"] = json!(format!("a1!{}", "x".repeat(69)));
    app.anonymous().post("/auth/register", long).await.expect(201);
}

async fn log_in(app: &TestApp, password: &str) -> Answer {
    app.anonymous().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
}

async fn stored(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT password_hash FROM users WHERE username = 'ann'").fetch_one(&app.pool).await.unwrap()
}
