//! What the world reaches: every path of the services' own documents, but what they ask each other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use e2e::gateway;
use reqwest::Method;
use testkit::{Answer, Client};

const PREFIXES: [&str; 6] = ["/auth", "/profile", "/users", "/friends", "/chat-rooms", "/messages"];
const INTERNAL: [&str; 3] = ["/users/batch", "/users/{user_id}/exists", "/friends/blocks"];

/// What the document of a service describes, as method and path.
async fn operations(variable: &str) -> Vec<(Method, String)> {
    let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
    let document = Client::new(&url, "").get("/openapi.json").await.expect(200);
    let split = |operation: String| {
        let (method, path) = operation.split_once(' ').unwrap();
        (method.to_uppercase().parse().unwrap(), path.to_owned())
    };
    testkit::operations(&document).into_iter().map(split).collect()
}

/// A path in which every parameter is 1.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Services say what was wrong in the one envelope of all errors; the gateway has words of its own.
fn came_through(answer: &Answer) -> bool {
    answer.status != 404 || answer.body["status_code"] == 404
}

#[tokio::test]
async fn every_documented_path_is_reachable_but_what_services_ask_each_other() {
    let gateway = gateway();
    let (mut open, mut closed) = (0, 0);
    for service in ["USER_URL", "FRIEND_URL", "CHAT_URL"] {
        for (method, path) in operations(service).await {
            let answer = gateway.send(gateway.request(method.clone(), &format!("/api{}", filled(&path)))).await;
            let public = PREFIXES.iter().any(|prefix| path.starts_with(prefix)) && !INTERNAL.contains(&path.as_str());
            assert_eq!(came_through(&answer), public, "{method} {path}: {} {}", answer.status, answer.text);
            *(if public { &mut open } else { &mut closed }) += 1;
        }
    }
    assert!(open >= 40 && closed >= INTERNAL.len(), "{open} open and {closed} closed paths");
}

#[tokio::test]
async fn metrics_and_readiness_and_other_spellings_are_nobodys_business() {
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
        assert!(answer.status == 404 && !came_through(&answer), "{path}: {} {}", answer.status, answer.text);
    }
}
