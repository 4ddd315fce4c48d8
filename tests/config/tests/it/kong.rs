//! kong-config.sh, the guide's second command, against an admin API that listens to it.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use config_tests::{place, text};
use tokio::net::TcpListener;

/// What was posted to `/config`.
type Loaded = Arc<Mutex<Vec<String>>>;

/// The part of Kong's admin API that the script uses; `answer` is what it says to a configuration.
async fn admin(answer: (StatusCode, &'static str)) -> (String, Loaded) {
    let loaded = Loaded::default();
    let posted = Arc::clone(&loaded);
    let list = get(async || r#"{"data":[{"name":"user-service","plugins":null},{"name":"web"}],"next":null}"#);
    let router = Router::new()
        .route("/status", get(async || "{}"))
        .route(
            "/config",
            post(async move |body: String| {
                posted.lock().unwrap().push(body);
                answer
            }),
        )
        .route("/services", list.clone())
        .route("/routes", list.clone())
        .route("/plugins", list);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, loaded)
}

async fn run(admin: String, variables: &[(&'static str, &'static str)]) -> Output {
    let variables = variables.to_vec();
    let script = place("infrastructure/docker/kong/kong-config.sh");
    let run = move || Command::new(script).env("KONG_ADMIN_URL", admin).envs(variables).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The file as it arrived, without what a form puts around it.
fn file(loaded: &Loaded) -> String {
    let loaded = loaded.lock().unwrap();
    let form = loaded.last().unwrap();
    assert!(form.contains("name=\"config\""), "{form}");
    let (_, content) = form.split_once("\r\n\r\n").unwrap();
    content.rsplit_once("\r\n--").unwrap().0.to_owned()
}

#[tokio::test]
async fn it_loads_the_file_as_it_is_lists_what_is_there_and_can_be_repeated() {
    let (admin, loaded) = admin((StatusCode::CREATED, "{}")).await;

    for _ in 0..2 {
        let output = run(admin.clone(), &[]).await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("services:\n  user-service\n  web\nroutes:\n"), "{said}");
    }

    assert_eq!(loaded.lock().unwrap().len(), 2);
    assert_eq!(file(&loaded), text("infrastructure/docker/kong/kong.yml"));
}

#[tokio::test]
async fn the_limits_can_be_set() {
    let (admin, loaded) = admin((StatusCode::CREATED, "{}")).await;

    run(admin, &[("RATE_LIMIT_MINUTE", "12000"), ("RATE_LIMIT_HOUR", "99000")]).await;

    let original = text("infrastructure/docker/kong/kong.yml");
    let changed = original.replace("minute: 100\n", "minute: 12000\n").replace("hour: 1000\n", "hour: 99000\n");
    assert_ne!(changed, original);
    assert_eq!(file(&loaded), changed);
}

#[tokio::test]
async fn it_fails_with_kongs_reason() {
    let (admin, _) = admin((StatusCode::BAD_REQUEST, r#"{"message":"unknown field"}"#)).await;

    let output = run(admin, &[]).await;

    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("unknown field"));
}
