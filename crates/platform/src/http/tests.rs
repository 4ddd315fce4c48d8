//! Every error answer, byte for byte, as it leaves the socket.

use std::fs;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::time::Duration;

use common::config::Env;
use common::error::{Detail, Error, Result};
use common::id::UserId;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use super::*;
use crate::config::Base;
use crate::{Platform, Service};

#[derive(Deserr)]
#[deserr(error = Invalid)]
struct Body {
    #[expect(dead_code, reason = "only read from the wire")]
    name: Text<1, 5>,
    #[expect(dead_code, reason = "only read from the wire")]
    password: Text<8, 20>,
}

impl Input for Body {}

pub(super) fn routes() -> OpenApiRouter {
    use axum::routing::{get, post};
    OpenApiRouter::new()
        .route("/conflict", get(|| async { Err::<(), _>(Error::conflict("Already there")) }))
        .route("/unauthenticated", get(|| async { Err::<(), _>(Error::not_authenticated()) }))
        .route("/too-many", get(|| async { Err::<(), _>(Error::TooMany { retry_after: Duration::from_secs(7) }) }))
        .route("/unavailable", get(|| async { Err::<(), _>(Error::unavailable("mysql", "gone")) }))
        .route("/internal", get(|| async { Err::<(), _>(Error::internal("a fault")) }))
        .route("/panic", get(|| async { panic!("a fault") as Result<()> }))
        .route("/users/{id}", get(|Path(UserId(_))| async {}))
        .route("/body", post(|Valid(Body { .. })| async {}))
        .route("/form", post(|FormOrJson(Body { .. })| async {}))
        .route("/query", get(|Query(Body { .. })| async {}))
}

/// Starts a service.
pub(crate) async fn start(platform: Platform, routes: OpenApiRouter) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app(&platform, (), routes);
    tokio::spawn(async move { serve(listener, app, &platform).await.unwrap() });
    address
}

/// A service whose errors have this form, with further settings.
pub(super) fn platform(refusals: Detail, settings: &[(&'static str, &str)]) -> Platform {
    let service = Service { name: "friend-service", title: "Friend Service", port: 0, refusals, password_flow: false };
    let env = [("SECRET_KEY", "a-secret-of-our-own-with-32-bytes!"), ("MYSQL_HOST", "none")];
    let env = env.iter().chain(settings).map(|(name, value)| (*name, (*value).to_owned()));
    let base = Base::read(&Env::of(env), service.name, 0).unwrap();
    Platform::new(service, base).unwrap()
}

/// The whole answer to a request, without its date and with a generated request id replaced.
async fn answer(to: SocketAddr, request: &str, headers: &[&str], body: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut text = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or("none").to_owned();
    let answer = if id.len() == 36 { answer.replace(&id, "a-new-id-of-36-bytes") } else { answer };
    let lines = answer.lines().filter(|line| !line.starts_with("date: ")).map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}

async fn answers(to: SocketAddr) -> String {
    let own = "x-request-id: r-1";
    let json = "content-type: application/json";
    let form = "content-type: application/x-www-form-urlencoded";
    let long = "x".repeat(300_000);
    let cases: &[(&str, &[&str], &str)] = &[
        ("GET /conflict", &[own], ""),
        ("GET /api/conflict/", &[own, "origin: http://localhost:3000"], ""),
        ("HEAD /conflict", &[own], ""),
        ("GET /conflict", &[], ""),
        ("GET /conflict", &["x-request-id: \"<script>\""], ""),
        ("POST /conflict", &[own], ""),
        ("GET /unauthenticated", &[own], ""),
        ("GET /too-many", &[own], ""),
        ("GET /unavailable", &[own], ""),
        ("GET /internal", &[own], ""),
        ("GET /panic", &[own], ""),
        ("GET /nowhere", &[own], ""),
        ("HEAD /nowhere", &[own], ""),
        ("GET /users/0", &[own], ""),
        ("GET /users/%FF", &[own], ""),
        ("GET /query?name=toolong&password=short", &[own], ""),
        ("POST /body", &[own, json], r#"{"name": "김민준", "password": "short", "more": 1}"#),
        ("POST /body", &[own, json], r#"{"name": 1"#),
        ("POST /body", &[own, json], ""),
        ("POST /body", &[own, "content-type: text/plain"], "x"),
        ("POST /form", &[own, form], "name=&password=short"),
        ("POST /form", &[own, form], "name=%FF"),
        ("POST /body", &[own, json], &long),
        ("OPTIONS /conflict", &[own, "origin: http://localhost:3000", "access-control-request-method: GET"], ""),
    ];
    let mut all = String::new();
    for (request, headers, body) in cases {
        let headers_shown = headers.join(", ");
        all += &format!("## {request} [{headers_shown}]\n{}\n\n", answer(to, request, headers, body).await);
    }
    all
}

#[tokio::test]
async fn error_answers_keep_their_bytes() {
    for (form, file) in [(Detail::Object, "object"), (Detail::Text, "text")] {
        let answers = answers(start(platform(form, &[]), routes()).await).await;
        let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/errors-{file}.txt"));
        assert_eq!(answers, fs::read_to_string(path).unwrap());
    }
}

#[tokio::test]
async fn invented_methods_paths_and_headers_add_no_series() {
    let platform = platform(Detail::Object, &[]);
    let app = app(&platform, (), routes());
    let series = || platform.metrics.render().unwrap().lines().count();
    let request = |n: usize| {
        // A method is a token; some are known, most are not.
        let method = if n.is_multiple_of(7) { "GET".to_owned() } else { format!("M{n:x}") };
        let path = if n.is_multiple_of(3) { "/conflict".to_owned() } else { format!("/{n}/{n}") };
        let request = axum::http::Request::builder().method(method.as_str()).uri(path);
        let request =
            request.header("x-request-id", format!("id-{n}")).header("traceparent", format!("00-{n:032x}-1-01"));
        request.header("user-agent", format!("agent {n}")).body(axum::body::Body::empty()).unwrap()
    };
    for n in 0..42 {
        let _ = app.clone().oneshot(request(n)).await.unwrap();
    }
    let before = series();

    for n in 42..10_000 {
        let _ = app.clone().oneshot(request(n)).await.unwrap();
    }

    assert_eq!(series(), before);
}
