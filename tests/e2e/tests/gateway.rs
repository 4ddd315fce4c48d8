//! The paths that the gateway routes: every documented path of the services, except those for other services.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use e2e::gateway;
use reqwest::Method;
use testkit::{Answer, Client};

const PREFIXES: [&str; 6] = ["/auth", "/profile", "/users", "/friends", "/chat-rooms", "/messages"];
const INTERNAL: [&str; 3] = ["/users/batch", "/users/{user_id}/exists", "/friends/blocks"];

/// The operations in the OpenAPI document of a service, as method and path.
async fn operations(variable: &str) -> Vec<(Method, String)> {
    let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
    let document = Client::new(&url, "").get("/openapi.json").await.expect(200);
    let split = |operation: String| {
        let (method, path) = operation.split_once(' ').unwrap();
        (method.to_uppercase().parse().unwrap(), path.to_owned())
    };
    testkit::operations(&document).into_iter().map(split).collect()
}

/// The path with 1 in place of each parameter.
fn with_parameters(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a service answered. Its 404 has the error body of the services, that of the gateway has another one.
fn is_routed(answer: &Answer) -> bool {
    answer.status != 404 || answer.body["status_code"] == 404
}

#[tokio::test]
async fn every_documented_path_is_routed_except_those_for_other_services() {
    let gateway = gateway();
    let (mut routed, mut unrouted) = (0, 0);
    for service in ["USER_URL", "FRIEND_URL", "CHAT_URL"] {
        for (method, path) in operations(service).await {
            let answer =
                gateway.send(gateway.request(method.clone(), &format!("/api{}", with_parameters(&path)))).await;
            let public = PREFIXES.iter().any(|prefix| path.starts_with(prefix)) && !INTERNAL.contains(&path.as_str());
            assert_eq!(is_routed(&answer), public, "{method} {path}: {} {}", answer.status, answer.text);
            *(if public { &mut routed } else { &mut unrouted }) += 1;
        }
    }
    assert!(routed >= 40 && unrouted >= INTERNAL.len(), "{routed} routed and {unrouted} other paths");
}

#[tokio::test]
async fn metrics_readiness_and_other_spellings_of_internal_paths_are_not_routed() {
    let gateway = gateway();
    for path in [
        "/metrics",
        "/health/ready",
        "/users/batch",
        "/friends/blocks",
        "/api/metrics",
        "/api/health/ready",
        "/api//users/1/exists",
        "/api/users/%31/exists",
        "/api/users/x/../batch",
        "/api/friends/blocks/",
    ] {
        let answer = gateway.get(path).await;
        assert!(answer.status == 404 && !is_routed(&answer), "{path}: {} {}", answer.status, answer.text);
    }
}
