//! The gateway with the file of production, in front of a small upstream.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::config::{Config, PATH, Plugin};
use super::proxy::POOL_IDLE_TIMEOUT;
use super::server::{router, routes};
use crate::http_client;
use crate::layer::WEB;
use crate::service::Service;

const SOON: Duration = Duration::from_secs(5);

/// Sends when the stream is dropped, because its client is gone.
struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

/// Responds with the request that it received. Its stream sends one event and then waits.
async fn upstream(dropped: mpsc::UnboundedSender<()>) -> String {
    let echo = |headers: HeaderMap, request: Request| async move {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Json(json!({
            "method": request.method().as_str(),
            "uri": request.uri().to_string(),
            "request_id": header("x-request-id"),
            "forwarded_for": header("x-forwarded-for"),
        }))
    };
    let stream = move || {
        let guard = OnDrop(dropped.clone());
        async move {
            let first = stream::once(async { Ok::<_, Infallible>(Event::default().data("first")) });
            Sse::new(first.chain(stream::pending()).map(move |event| {
                let _guard = &guard;
                event
            }))
        }
    };
    listen(Router::new().route("/api/messages/stream/{room}", get(stream)).fallback(any(echo))).await
}

async fn gateway(replicas: &[String], limited: bool) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut config = Config::load(&root.join(PATH)).unwrap();
    // Without log lines in the output of the tests.
    config.plugins.retain(|plugin| !matches!(plugin, Plugin::FileLog(_)));
    let hosts = Service::ALL.map(Service::name).into_iter().chain([WEB]);
    let hosts = hosts.map(|host| (host.to_owned(), replicas.to_vec())).collect();
    listen(router(&config, hosts, limited).unwrap()).await
}

async fn gateway_without_limits() -> String {
    gateway(&[upstream(mpsc::unbounded_channel().0).await], false).await
}

async fn get_json(url: String) -> serde_json::Value {
    http_client::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn paths_and_queries_arrive_unchanged() {
    let received = get_json(format!("{}/api/users/search?query=a%20b&limit=2", gateway_without_limits().await)).await;
    assert_eq!(received["uri"], "/api/users/search?query=a%20b&limit=2");
    assert_eq!(received["forwarded_for"], "127.0.0.1");
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found_as_in_kong() {
    let gateway = gateway_without_limits().await;
    let excluded = ["/api/users/batch", "/api//users/%62atch/", "/api/users/7/exists", "/api/friends/blocks"];
    let unknown = ["/api", "/api/", "/api/metrics", "/api/nothing", "/api/health/ready"];
    for path in excluded.iter().chain(&unknown) {
        let response = http_client::get(format!("{gateway}{path}")).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body, json!({"message": "no Route matched with those values"}), "{path}");
    }
}

/// The length of the prefix that a path matches in the file of production.
fn prefix_of(path: &str) -> usize {
    let config = Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PATH)).unwrap();
    let hosts = config.services.iter().map(|service| (service.host().unwrap(), vec![])).collect();
    routes(&config, hosts).unwrap().find(path, |_| true).unwrap().matched
}

#[test]
fn paths_outside_the_api_belong_to_the_page() {
    // The page has no files at the paths of the services, such as their metrics.
    for path in ["/", "/app.js", "/metrics", "/health/ready", "/auth/login", "/users/batch"] {
        assert_eq!(prefix_of(path), "/".len(), "{path}");
    }
    for path in ["/api", "/api/auth/login", "/api/messages/stream", "/api/users/batch"] {
        assert!(prefix_of(path) > "/".len(), "{path}");
    }
}

#[tokio::test]
async fn every_method_is_forwarded() {
    let gateway = gateway_without_limits().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let request =
            http_client::client().unwrap().request(method.parse().unwrap(), format!("{gateway}/api/profile/me"));
        let received: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(received["method"], method);
    }
}

#[tokio::test]
async fn a_method_that_no_route_names_is_not_found_as_in_kong() {
    let gateway = gateway_without_limits().await;
    let send = |method: &'static str, path: &'static str| {
        http_client::client().unwrap().request(method.parse().unwrap(), format!("{gateway}{path}")).send()
    };
    for (method, path) in
        [("TRACE", "/api/profile/me"), ("BREW", "/api/profile/me"), ("POST", "/"), ("DELETE", "/app.js")]
    {
        assert_eq!(send(method, path).await.unwrap().status(), 404, "{method} {path}");
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        assert_eq!(send(method, "/api/users/batch").await.unwrap().status(), 404, "{method}");
        assert_eq!(send(method, "/api/nothing").await.unwrap().status(), 404, "{method}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_a_new_one() {
    let url = format!("{}/api/profile/me", gateway_without_limits().await);
    let response = http_client::client().unwrap().get(&url).header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine");
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["request_id"], "mine");

    let response = http_client::get(&url).await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["request_id"], id);
}

#[tokio::test]
async fn an_unsafe_request_id_is_replaced() {
    let url = format!("{}/api/profile/me", gateway_without_limits().await);
    let long = "x".repeat(129);
    for unsafe_id in [&long, "<script>", "a b", ""] {
        let response = http_client::client().unwrap().get(&url).header("x-request-id", unsafe_id).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(id.len(), 36, "{unsafe_id}");
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["request_id"], id);
    }
}

/// The bytes that the gateway sends until it closes the connection.
async fn exchange(gateway: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let gateway = gateway_without_limits().await;
    for (hosts, status) in [("host: x\r\n", "200"), ("", "400"), ("host: x\r\nhost: y\r\n", "400")] {
        let request = format!("GET /api/profile/me HTTP/1.1\r\nconnection: close\r\n{hosts}\r\n");
        let answer = exchange(&gateway, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {answer}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let gateway = gateway_without_limits().await;
    for header in ["expect: 100-continue\r\ncontent-length: 65537", "content-length: 1048577"] {
        let request = format!("POST /api/profile/me HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
        let answer = exchange(&gateway, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let url = format!("{gateway}/api/profile/me");
    let post = |body: reqwest::Body| http_client::client().unwrap().post(&url).body(body).send();
    let chunks = |n| reqwest::Body::wrap_stream(stream::iter(vec![Ok::<_, Infallible>("x".repeat(1000)); n]));
    for _ in 0..10 {
        assert_eq!(post("x".repeat(300_000).into()).await.unwrap().status(), 413);
        assert_eq!(post(chunks(300)).await.unwrap().status(), 413);
        assert_eq!(post("x".repeat(65_536).into()).await.unwrap().status(), 200);
        assert_eq!(post(chunks(65)).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn cors_allows_only_the_known_origins() {
    let gateway = gateway_without_limits().await;
    let preflight = |origin: &'static str| {
        http_client::client()
            .unwrap()
            .request(Method::OPTIONS, format!("{gateway}/api/auth/login"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let known = preflight("http://localhost:5173").await.unwrap();
    assert_eq!(known.headers()["access-control-allow-origin"], "http://localhost:5173");
    assert_eq!(known.headers()["access-control-allow-credentials"], "true");
    assert_eq!(known.headers()["access-control-max-age"], "3600");
    let unknown = preflight("http://evil.example").await.unwrap();
    assert!(!unknown.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn requests_over_the_limit_are_rejected() {
    let upstream = upstream(mpsc::unbounded_channel().0).await;
    let url = format!("{}/api/profile/me", gateway(&[upstream], true).await);
    for left in (0..100).rev() {
        let response = http_client::get(&url).await.unwrap();
        assert_eq!(response.status(), 200);
        if left == 99 {
            assert_eq!(response.headers()["x-ratelimit-remaining-minute"], "99");
        }
    }
    // The limit of 100 a minute refills by one every 600 ms.
    let mut rejected = None;
    for _ in 0..20 {
        let response = http_client::get(&url).await.unwrap();
        if response.status() == 429 {
            rejected = Some(response);
            break;
        }
    }
    let rejected = rejected.expect("no request was rejected");
    assert_eq!(rejected.headers()["retry-after"], "1");
    assert_eq!(rejected.json::<serde_json::Value>().await.unwrap(), json!({"message": "API rate limit exceeded"}));
}

#[tokio::test]
async fn users_behind_one_address_have_limits_of_their_own_and_streams_are_counted_apart() {
    let gateway = gateway(&[upstream(mpsc::unbounded_channel().0).await], true).await;
    let get = async |path: &str, signature: &str| {
        let request =
            http_client::client().unwrap().get(format!("{gateway}{path}")).bearer_auth(format!("a.b.{signature}"));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.headers()["x-ratelimit-remaining-minute"].to_str().unwrap().to_owned())
    };
    while get("/api/profile/me", "ann").await.0 == 200 {}

    assert_eq!(get("/api/profile/me", "bob").await, (200, "99".into()));
    assert_eq!(get("/api/auth/login", "ann").await, (200, "99".into()), "a login is counted by network");
    assert_eq!(get("/api/auth/login", "bob").await, (200, "98".into()));
    for (path, left) in [("/api/messages/stream/ticket", "5999"), ("/api/messages/stream/7/", "5998")] {
        assert_eq!(get(path, "ann").await, (200, left.into()), "{path}");
    }
    for (path, left) in [("/api/messages/7/thumbnail", "1199"), ("/api/messages/7/file", "1198")] {
        assert_eq!(get(path, "ann").await, (200, left.into()), "{path}");
    }
    assert_eq!(get("/app.js", "ann").await, (200, "5999".into()), "the page's files are counted apart");
}

#[tokio::test]
async fn an_event_passes_at_once_and_a_disconnect_reaches_the_upstream() {
    let (dropped, mut is_dropped) = mpsc::unbounded_channel();
    let url = format!("{}/api/messages/stream/7", gateway(&[upstream(dropped).await], false).await);
    let mut response = timeout(SOON, http_client::get(url)).await.unwrap().unwrap();
    let first = timeout(SOON, response.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, "data: first\n\n");

    drop(response);
    timeout(SOON, is_dropped.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_gateway_closes_an_idle_connection_before_the_replica_does() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url =
        format!("{}/api/profile/me", gateway(&[format!("http://{}", listener.local_addr().unwrap())], false).await);
    let replica = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0);
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        connection
    };

    let (response, mut connection) = tokio::join!(http_client::get(url), replica);

    assert_eq!(response.unwrap().status(), 200);
    let ended = timeout(3 * POOL_IDLE_TIMEOUT, connection.read(&mut [0])).await;
    assert_eq!(ended.expect("the connection stays open").unwrap(), 0);
}

#[tokio::test]
async fn an_unavailable_replica_is_skipped_and_without_any_the_status_is_502() {
    let down = "http://127.0.0.1:1".to_owned();
    let up = upstream(mpsc::unbounded_channel().0).await;
    let url = format!("{}/api/profile/me", gateway(&[down.clone(), up], false).await);
    for _ in 0..4 {
        let response = http_client::client().unwrap().post(&url).body("x").send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    let url = format!("{}/api/profile/me", gateway(&[down], false).await);
    assert_eq!(http_client::get(&url).await.unwrap().status(), 502);
}
