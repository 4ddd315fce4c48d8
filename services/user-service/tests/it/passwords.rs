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

/// The default of the setting, which the other tests lower.
const GUESSES: (&str, &str) = ("PASSWORD_MIN_GUESSES", "100000");

fn registration_with(name: &str, password: &str) -> Value {
    let mut new = registration(name);
    new["password"] = password.into();
    new
}

#[tokio::test]
async fn a_common_password_is_refused_at_a_registration_and_at_a_change_but_not_at_a_login() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let strict = app.replica_with(&[GUESSES]).await;
    let change = async |current: &str, new: &str| {
        let change = json!({"current_password": current, "new_password": new});
        strict.client(ann.client.token()).put("/auth/password", change).await
    };

    for password in ["P@ssw0rd", "Passw0rd!", "Kim_minjun1!", "BigTech1!"] {
        let answer = strict.client("").post("/auth/register", registration_with("kim_minjun", password)).await;
        assert!(!answer.text.contains(password));
        let body = answer.expect(422);
        assert_eq!(body["error"], "validation_error");
        assert_eq!(body["detail"][0]["type"], "password_too_common", "{password}");
        assert_eq!(body["detail"][0]["loc"], json!(["body", "password"]));
        assert!(body["validation_errors"][0]["message"].as_str().unwrap().contains("too easy to guess"));
    }
    let refused = change(PASSWORD, "Passw0rd1!").await.expect(422);
    assert_eq!(
        (&refused["detail"][0]["type"], &refused["detail"][0]["loc"][1]),
        (&json!("password_too_common"), &json!("new_password"))
    );
    change("Passw0rd?", "Passw0rd1!").await.expect(400);
    change(PASSWORD, "ann@example.com1").await.expect(200);
    strict.client("").post("/auth/register", registration_with("testuser", "Test1234!@")).await.expect(201);
    app.register("bob").await;
    let login = json!({"email": "bob@example.com", "password": PASSWORD});
    strict.client("").post("/auth/login/json", login).await.expect(200);
}

#[tokio::test]
async fn a_breached_password_is_refused() {
    // The SHA-1 hashes of "Th1rd-one!" and "password".
    let mut lines =
        ["5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824".to_owned(), format!("{}:1", sha1_of("Th1rd-one!"))];
    lines.sort_unstable();
    let path = std::env::temp_dir().join(format!("breached-passwords-{}", std::process::id()));
    std::fs::write(&path, lines.join("\r\n")).unwrap();
    let app = TestApp::start_with(&[GUESSES, ("BREACHED_PASSWORDS_FILE", path.to_str().unwrap())]).await;
    std::fs::remove_file(path).unwrap();

    let refused = app.anonymous().post("/auth/register", registration_with("ann", "Th1rd-one!")).await.expect(422);
    assert_eq!(refused["detail"][0]["type"], "password_breached");
    app.anonymous().post("/auth/register", registration_with("ann", "F0urth-one!")).await.expect(201);
    let ann = json!({"email": "ann@example.com", "password": "F0urth-one!"});
    let token = app.anonymous().post("/auth/login/json", ann).await.expect(200);
    let change = json!({"current_password": "F0urth-one!", "new_password": "Th1rd-one!"});
    let client = app.server.client(token["access_token"].as_str().unwrap());
    assert_eq!(client.put("/auth/password", change).await.expect(422)["detail"][0]["type"], "password_breached");
}

#[tokio::test]
async fn a_breach_of_the_rule_for_passwords_is_reported_with_the_other_broken_fields() {
    let app = TestApp::start().await;
    let fields = async |client: testkit::Client, password: &str| {
        let mut new = registration_with("ann", password);
        new["email"] = "x".into();
        let body = client.post("/auth/register", new).await.expect(422);
        body["detail"].as_array().unwrap().iter().map(|entry| entry["loc"][1].clone()).collect::<Vec<_>>()
    };

    assert_eq!(fields(app.anonymous(), "no-digit").await, ["email", "password"]);
    assert_eq!(fields(app.anonymous(), "a1!aaaaa").await, ["email"]);
    let by_length = app.replica_with(&[GUESSES, ("PASSWORD_RULE", "length")]).await;
    assert_eq!(fields(by_length.client(""), "Test1234!@").await, ["email", "password"]);
    by_length.client("").post("/auth/register", registration_with("ann", "passwordpassword")).await.expect(422);
    by_length.client("").post("/auth/register", registration_with("ann", "three blue cars")).await.expect(201);
}

fn sha1_of(text: &str) -> String {
    use sha1::{Digest, Sha1};
    hex::encode_upper(Sha1::digest(text))
}

async fn log_in(app: &TestApp, password: &str) -> Answer {
    app.anonymous().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
}

async fn stored(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT password_hash FROM users WHERE username = 'ann'").fetch_one(&app.pool).await.unwrap()
}
