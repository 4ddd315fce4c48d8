//! The gateway in front of a small upstream, by the file of production.

use std::convert::Infallible;
use std::path::Path;

use axum::http::{HeaderMap, Method};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Told when the client of the stream is gone.
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

/// Tells what reached it; its stream says one event and then waits.
async fn upstream(gone: mpsc::UnboundedSender<()>) -> String {
    let tell = |headers: HeaderMap, request: Request| async move {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Json(json!({
            "method": request.method().as_str(),
            "uri": request.uri().to_string(),
            "request_id": header("x-request-id"),
            "forwarded_for": header("x-forwarded-for"),
        }))
    };
    let stream = move || {
        let guard = OnDrop(gone.clone());
        async move {
            let first = stream::once(async { Ok::<_, Infallible>(Event::default().data("first")) });
            Sse::new(first.chain(stream::pending()).map(move |event| {
                let _held = &guard;
                event
            }))
        }
    };
    listen(Router::new().route("/api/messages/stream/{room}", get(stream)).fallback(any(tell))).await
}

async fn gateway(replicas: &[String], limited: bool) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut config = Config::load(&root.join(CONFIG)).unwrap();
    // Its lines would stand between those of the tests.
    config.plugins.retain(|plugin| !matches!(plugin, Plugin::FileLog(_)));
    let hosts = Service::ALL.map(Service::name).into_iter().chain([web::NAME]);
    let hosts = hosts.map(|host| (host.to_owned(), replicas.to_vec())).collect();
    listen(router(&config, hosts, limited).unwrap()).await
}

async fn simple() -> String {
    gateway(&[upstream(mpsc::unbounded_channel().0).await], false).await
}

async fn json_of(url: String) -> serde_json::Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn paths_and_queries_arrive_unstripped() {
    let told = json_of(format!("{}/api/users/search?query=a%20b&limit=2", simple().await)).await;
    assert_eq!(told["uri"], "/api/users/search?query=a%20b&limit=2");
    assert_eq!(told["forwarded_for"], "127.0.0.1");
}

#[tokio::test]
async fn what_is_not_routed_is_answered_as_kong_answers_it() {
    let gateway = simple().await;
    let excluded = ["/api/users/batch", "/api//users/%62atch/", "/api/users/7/exists", "/api/friends/blocks"];
    let unknown = ["/api", "/api/", "/api/metrics", "/api/nothing", "/api/health/ready"];
    for path in excluded.iter().chain(&unknown) {
        let answer = reqwest::get(format!("{gateway}{path}")).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body, json!({"message": "no Route matched with those values"}), "{path}");
    }
}

/// The prefix that a path takes, by the file of production.
fn prefix_of(path: &str) -> usize {
    let config = Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(CONFIG)).unwrap();
    let hosts = config.services.iter().map(|service| (service.host().unwrap(), vec![])).collect();
    routes(&config, hosts).unwrap().find(path).unwrap().matched
}

#[test]
fn what_is_no_api_is_the_pages() {
    // Bare paths of the services, their metrics among them, are files that the page does not have.
    for path in ["/", "/app.js", "/metrics", "/health/ready", "/auth/login", "/users/batch"] {
        assert_eq!(prefix_of(path), "/".len(), "{path}");
    }
    for path in ["/api", "/api/auth/login", "/api/messages/stream", "/api/users/batch"] {
        assert!(prefix_of(path) > "/".len(), "{path}");
    }
}

#[tokio::test]
async fn every_method_passes() {
    let gateway = simple().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let request = reqwest::Client::new().request(method.parse().unwrap(), format!("{gateway}/api/profile/me"));
        let told: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(told["method"], method);
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let url = format!("{}/api/profile/me", simple().await);
    let answer = reqwest::Client::new().get(&url).header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine");
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["request_id"], "mine");

    let answer = reqwest::get(&url).await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["request_id"], id);
}

#[tokio::test]
async fn browsers_of_the_known_origins_are_let_in() {
    let gateway = simple().await;
    let preflight = |origin: &'static str| {
        reqwest::Client::new()
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
async fn limits_hold_when_they_are_on() {
    let upstream = upstream(mpsc::unbounded_channel().0).await;
    let url = format!("{}/api/profile/me", gateway(&[upstream], true).await);
    for left in (0..100).rev() {
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.status(), 200);
        if left == 99 {
            assert_eq!(answer.headers()["x-ratelimit-remaining-minute"], "99");
        }
    }
    // The refill of a minute's limit gives one back every 600 ms.
    let mut refused = None;
    for _ in 0..20 {
        let answer = reqwest::get(&url).await.unwrap();
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("no request was refused");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<serde_json::Value>().await.unwrap(), json!({"message": "API rate limit exceeded"}));
}

#[tokio::test]
async fn an_event_passes_at_once_and_a_client_that_leaves_is_noticed() {
    let (gone, mut is_gone) = mpsc::unbounded_channel();
    let url = format!("{}/api/messages/stream/7", gateway(&[upstream(gone).await], false).await);
    let mut answer = timeout(SOON, reqwest::get(url)).await.unwrap().unwrap();
    let first = timeout(SOON, answer.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, "data: first\n\n");

    drop(answer);
    timeout(SOON, is_gone.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replica_that_is_down_is_passed_over_and_none_at_all_is_a_bad_gateway() {
    let down = "http://127.0.0.1:1".to_owned();
    let up = upstream(mpsc::unbounded_channel().0).await;
    let url = format!("{}/api/profile/me", gateway(&[down.clone(), up], false).await);
    for _ in 0..4 {
        let answer = reqwest::Client::new().post(&url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    let url = format!("{}/api/profile/me", gateway(&[down], false).await);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 502);
}

#[test]
fn a_stripped_path_still_begins_with_a_slash() {
    assert_eq!(stripped("/api/users/7", 4), "/users/7");
    assert_eq!(stripped("/api", 4), "/");
    assert_eq!(stripped("/api/", 5), "/");
}
