//! `kong-config.sh`, the guide's second command, with a simulated admin API of Kong.

use std::process::{Command, Output};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use config_tests::{repository_path, text};
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// The bodies of the requests to `/config`.
type Configurations = Arc<Mutex<Vec<String>>>;

/// Starts the part of Kong's admin API that the script uses. `answer` is the answer to a configuration.
async fn admin(answer: (StatusCode, &'static str)) -> (String, Configurations) {
    let configurations = Configurations::default();
    let received = Arc::clone(&configurations);
    let list = get(async || r#"{"data":[{"name":"user-service","plugins":null},{"name":"web"}],"next":null}"#);
    let router = Router::new()
        .route("/status", get(async || "{}"))
        .route(
            "/config",
            post(async move |body: String| {
                received.lock().push(body);
                answer
            }),
        )
        .route("/services", list.clone())
        .route("/routes", list.clone())
        .route("/plugins", list);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, configurations)
}

async fn run(admin: String, variables: &[(&'static str, &'static str)]) -> Output {
    let variables = variables.to_vec();
    let script = repository_path("infrastructure/docker/kong/kong-config.sh");
    let run = move || Command::new(script).env("KONG_ADMIN_URL", admin).envs(variables).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The file in the last request, without the form around it.
fn file(configurations: &Configurations) -> String {
    let configurations = configurations.lock();
    let form = configurations.last().unwrap();
    assert!(form.contains("name=\"config\""), "{form}");
    let (_, content) = form.split_once("\r\n\r\n").unwrap();
    content.rsplit_once("\r\n--").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_script_loads_the_file_unchanged_lists_the_objects_and_can_be_repeated() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    for _ in 0..2 {
        let output = run(admin.clone(), &[]).await;
        assert!(output.status.success(), "{output:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.starts_with("services:\n  user-service\n  web\nroutes:\n"), "{stdout}");
    }

    assert_eq!(configurations.lock().len(), 2);
    assert_eq!(file(&configurations), text("infrastructure/docker/kong/kong.yml"));
}

#[tokio::test]
async fn variables_change_the_rate_limits() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    run(admin, &[("RATE_LIMIT_MINUTE", "12000"), ("RATE_LIMIT_HOUR", "99000")]).await;

    let original = text("infrastructure/docker/kong/kong.yml");
    let changed = original.replace("minute: 100\n", "minute: 12000\n").replace("hour: 1000\n", "hour: 99000\n");
    assert_ne!(changed, original);
    assert_eq!(file(&configurations), changed);
}

#[tokio::test]
async fn the_script_fails_with_the_reason_from_kong() {
    let (admin, _) = admin((StatusCode::BAD_REQUEST, r#"{"message":"unknown field"}"#)).await;

    let output = run(admin, &[]).await;

    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("unknown field"));
}
