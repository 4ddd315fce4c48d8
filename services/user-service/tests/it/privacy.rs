//! Personal data stays out of the log.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use testkit::{Client, eventually};
use tokio::process::{Child, Command};

use crate::app::{TestApp, registration};

const EMAIL: &str = "private-mail@example.com";
const PASSWORD: &str = "Private-passw0rd!";
const WRONG: &str = "Wrong-passw0rd!";
const NAME: &str = "표시-private";
const STATUS: &str = "private status";
const QUERY: &str = "private query";

/// The service in a process of its own, which logs everything to a file.
struct Process {
    _child: Child,
    client: Client,
    log: PathBuf,
}

impl Process {
    /// Starts a replica of a service.
    async fn start(app: &TestApp) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = std::env::temp_dir().join(format!("user-service-log-{port}"));
        let log = File::create(&path).unwrap();
        let mut env = app.space.env(&app.mysql_url);
        env.extend([("PORT", port.to_string()), ("LOG_LEVEL", "trace".to_owned())]);
        let (stdout, stderr) = (Stdio::from(log.try_clone().unwrap()), Stdio::from(log));
        let mut command = Command::new(env!("CARGO_BIN_EXE_user-service"));
        let child = command.env_clear().envs(env).stdout(stdout).stderr(stderr).kill_on_drop(true).spawn().unwrap();
        let client = Client::new(&format!("http://127.0.0.1:{port}"), "");
        eventually("the process is ready", || async {
            let ready = reqwest::get(format!("http://127.0.0.1:{port}/health/ready")).await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        Self { _child: child, client, log: path }
    }
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

fn assert_absent(what: &str, text: &str, tokens: &[String]) {
    for private in [EMAIL, PASSWORD, WRONG, NAME, STATUS, QUERY, "private%20query"] {
        let line = text.lines().find(|line| line.contains(private));
        assert!(line.is_none(), "{what}: {private:?} in {}", line.unwrap_or_default());
    }
    for token in tokens {
        assert!(!text.contains(token.as_str()), "{what}: a token");
    }
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
    let process = Process::start(&app).await;

    let tokens = live(&process.client).await;

    let log = std::fs::read_to_string(&process.log).unwrap();
    std::fs::remove_file(&process.log).unwrap();
    assert!(log.contains("\"route\":\"/auth/login/json\""), "the log has the requests");
    assert_absent("the log", &log, &tokens);
}

#[tokio::test]
async fn an_error_of_the_database_is_logged_without_the_values_of_its_statement() {
    let app = TestApp::start().await;
    app.execute("ALTER TABLE users ADD UNIQUE KEY one_name (display_name)").await;
    let process = Process::start(&app).await;
    let mut ann = registration("ann");
    ann["display_name"] = NAME.into();
    ann["password"] = PASSWORD.into();
    process.client.post("/auth/register", ann).await.expect(201);
    let bob = app.person("bob").await;
    let bob = process.client.with_token(bob.client.token());

    bob.put("/profile/me", json!({"display_name": NAME})).await.expect(500);

    let log = std::fs::read_to_string(&process.log).unwrap();
    std::fs::remove_file(&process.log).unwrap();
    assert!(log.contains("one_name"), "the log names the key: {log}");
    assert_absent("the log", &log, &[]);
}
