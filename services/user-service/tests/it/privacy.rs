//! Personal data stays out of the log.

use serde_json::{Value, json};
use testkit::{Client, LoggedProcess, eventually};

use crate::app::{TestApp, registration};

const EMAIL: &str = "private-mail@example.com";
const PASSWORD: &str = "Private-passw0rd!";
const WRONG: &str = "Wrong-passw0rd!";
const NAME: &str = "표시-private";
const STATUS: &str = "private status";
const QUERY: &str = "private query";

/// Texts that no log may contain.
const PRIVATE: [&str; 7] = [EMAIL, PASSWORD, WRONG, NAME, STATUS, QUERY, "private%20query"];

/// Starts a replica in a process of its own.
async fn process(app: &TestApp) -> LoggedProcess {
    LoggedProcess::start(env!("CARGO_BIN_EXE_user-service"), app.space.env(&app.mysql_url)).await
}

/// Registers, logs in, fails to log in, changes the profile, searches, and sends what is refused. Returns the tokens.
async fn live(client: &Client) -> Vec<String> {
    let new = json!({"email": EMAIL, "username": "ann", "password": PASSWORD, "display_name": NAME});
    client.post("/auth/register", new.clone()).await.expect(201);
    client.post("/auth/register", new).await.expect(409);
    client.post("/auth/register", json!({"email": format!("{EMAIL} x"), "password": PASSWORD})).await.expect(422);
    client.post("/auth/login/json", json!({"email": EMAIL, "password": WRONG})).await.expect(401);
    client.post_form("/auth/login", &[("username", EMAIL), ("password", WRONG)]).await.expect(401);
    client.post("/auth/login/json", json!({"email": EMAIL, "password": {"of": PASSWORD}})).await.expect(422);
    let token = client.post("/auth/login/json", json!({"email": EMAIL, "password": PASSWORD})).await.expect(200);
    let refreshed = client.post("/auth/refresh", json!({"refresh_token": token["refresh_token"]})).await.expect(200);
    let text = |of: &Value, field: &str| of[field].as_str().unwrap().to_owned();
    let me = client.with_token(&text(&refreshed, "access_token"));
    me.put("/profile/me", json!({"display_name": NAME, "status_message": STATUS})).await.expect(200);
    me.put("/profile/me", json!({"display_name": {"of": NAME}})).await.expect(422);
    me.get(&format!("/users/search?query={QUERY}")).await.expect(200);
    me.get(&format!("/users/search?query={QUERY}&limit={EMAIL}")).await.expect(422);
    me.get(&format!("/nothing/{EMAIL}?query={QUERY}")).await.expect(404);
    me.put("/auth/password", json!({"current_password": WRONG, "new_password": PASSWORD})).await.expect(400);
    let malformed = me.request(reqwest::Method::PUT, "/profile/me").header("content-type", "application/json");
    me.send(malformed.body(format!("{{\"display_name\": \"{NAME}\", {EMAIL}"))).await.expect(422);
    me.get("/profile/me").await.expect(200);
    let fields = ["access_token", "refresh_token"];
    [&token, &refreshed].iter().flat_map(|token| fields.map(|field| text(token, field))).collect()
}

#[tokio::test]
async fn redis_has_no_e_mail_address() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let bob = app.person("bob").await;
    assert_eq!(ann.client.get("/profile/me").await.expect(200)["email"], ann.email);
    bob.client.get(&format!("/users/{}", ann.id)).await.expect(200);
    app.anonymous().post("/auth/login/json", json!({"email": ann.email, "password": WRONG})).await.expect(401);

    let values = eventually("the profile is cached", || async {
        let values = app.redis_content().await;
        values.contains("\"username\":\"ann\"").then_some(values)
    })
    .await;
    assert!(!values.contains("example.com"), "{values}");
}

#[tokio::test]
async fn no_log_line_has_personal_data_or_credentials() {
    let app = TestApp::start().await;
    let process = process(&app).await;

    let tokens = live(&process.client).await;

    assert!(process.log().contains("\"route\":\"/auth/login/json\""), "the log has the requests");
    process.assert_not_logged(&PRIVATE);
    process.assert_not_logged(&tokens.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_error_of_the_database_is_logged_without_the_values_of_its_statement() {
    let app = TestApp::start().await;
    app.execute("ALTER TABLE users ADD UNIQUE KEY one_name (display_name)").await;
    let process = process(&app).await;
    let mut ann = registration("ann");
    ann["display_name"] = NAME.into();
    ann["password"] = PASSWORD.into();
    process.client.post("/auth/register", ann).await.expect(201);
    let bob = app.person("bob").await;
    let bob = process.client.with_token(bob.client.token());

    bob.put("/profile/me", json!({"display_name": NAME})).await.expect(500);

    assert!(process.log().contains("one_name"), "the log names the key");
    process.assert_not_logged(&PRIVATE);
}
