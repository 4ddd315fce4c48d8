//! Requests that schemathesis generates from the API documents: `.ci/check-hostile-input`.
//!
//! No request gets a 5xx, a status or a body that the document does not have, or an answer without authentication.
//! `HOSTILE_SEED=random` generates other requests in every run, and `HOSTILE_EXAMPLES` sets their number for each
//! operation and phase.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]
#![allow(clippy::print_stdout, reason = "the closing lines of schemathesis are a result too")]

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use e2e::{PASSWORD, Person};
use tokio::process::Command;
use tokio::time::timeout;

/// The time for all documents, with and without authentication each.
const MAX_TIME: Duration = Duration::from_secs(150);

/// Requests without a token are all refused before they are read further, so few of them show it.
const ANONYMOUS_EXAMPLES: u32 = 3;
const EXAMPLES: u32 = 15;

const RULES: &str = include_str!("schemathesis.toml");

/// One run of schemathesis, against one service.
struct Run {
    name: &'static str,
    /// The variable with the address of the service.
    url: &'static str,
    /// The credentials, in the format of schemathesis' configuration.
    credentials: String,
    examples: u32,
}

#[tokio::test]
#[ignore = "floods the services: `.ci/check-hostile-input`"]
async fn generated_requests_of_users_get_documented_answers() {
    let user = Person::sign_up("hostile").await;
    let (friend, chat) = (person_with_contacts().await, person_with_contacts().await);
    let examples = env::var("HOSTILE_EXAMPLES").map_or(EXAMPLES, |text| text.parse().unwrap());
    let run = |name, url, credentials| Run { name, url, credentials, examples }.check();

    let checks = async {
        tokio::join!(
            run("user", "USER_URL", login(&user)),
            run("friend", "FRIEND_URL", token(&friend)),
            run("chat", "CHAT_URL", token(&chat)),
        )
    };

    timeout(MAX_TIME, checks).await.unwrap();
}

#[tokio::test]
#[ignore = "floods the services: `.ci/check-hostile-input`"]
async fn generated_requests_without_a_token_get_documented_answers() {
    let run = |name, url| Run { name, url, credentials: String::new(), examples: ANONYMOUS_EXAMPLES }.check();

    let checks = async {
        tokio::join!(
            run("anonymous-user", "USER_URL"),
            run("anonymous-friend", "FRIEND_URL"),
            run("anonymous-chat", "CHAT_URL"),
        )
    };

    timeout(MAX_TIME, checks).await.unwrap();
}

/// A user with a friend, a pending request and a room with messages, whose ids schemathesis reads from answers.
async fn person_with_contacts() -> Person {
    let (person, friend, requester) =
        (Person::sign_up("hostile").await, Person::sign_up("friend").await, Person::sign_up("requester").await);
    person.befriend(&friend).await;
    requester.client.post("/api/friends/request", serde_json::json!({"user_id_2": person.id})).await.expect(201);
    let room = person.room_with(&friend).await;
    for text in ["first", "second"] {
        person.send_message(room, text).await;
    }
    person
}

/// A login before the first request, and again after the generated requests have ended the session.
fn login(person: &Person) -> String {
    format!(
        "[auth.dynamic.openapi.bearer]\npath = \"/auth/login/json\"\nmethod = \"post\"\n\
         payload = {{ email = \"{}\", password = \"{PASSWORD}\" }}\nextract_selector = \"/access_token\"\n",
        person.email
    )
}

fn token(person: &Person) -> String {
    format!("[auth.openapi]\nbearer = {{ bearer = \"{}\" }}\n", person.client.token())
}

impl Run {
    /// Runs schemathesis in a directory of its own, because it writes its state there.
    async fn check(self) {
        let program = env::var("SCHEMATHESIS").expect("run these tests with `.ci/check-hostile-input`");
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hostile").join(self.name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir_all(&directory).unwrap();
        let config = directory.join("schemathesis.toml");
        fs::write(&config, format!("{RULES}\n{}", self.credentials)).unwrap();
        let seed = env::var("HOSTILE_SEED").unwrap_or_else(|_| "1".into());
        let document = format!("{}/openapi.json", env::var(self.url).unwrap());
        let mut command = Command::new(program);
        command.arg("--no-color").arg("--config-file").arg(config).args(["run", &document]);
        command.args(["--max-examples", &self.examples.to_string()]);
        if seed != "random" {
            command.args(["--seed", &seed]);
        }
        let output = command.current_dir(directory).kill_on_drop(true).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {text}{}", self.name, String::from_utf8_lossy(&output.stderr));
        let summary = text.find("= SUMMARY =").map_or(&*text, |start| &text[start..]);
        println!("{}: {}", self.name, summary.trim_start_matches(['=', ' ']));
    }
}
