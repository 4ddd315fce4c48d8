//! Authentication, membership, error answers, and the endpoints of the service itself.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::json;
use testkit::operations;

use crate::app::TestApp;
use crate::person::{message_path, pluck};

const PATHS: [&str; 10] = [
    "/chat-rooms",
    "/chat-rooms/limits",
    "/api/chat-rooms/unread",
    "/api/chat-rooms/check/2",
    "/chat-rooms/1",
    "/api/messages/1",
    "/messages/room/1/unread-count",
    "/api/messages/stream/1",
    "/messages/stream",
    "/messages/search?q=a",
];

#[tokio::test]
async fn a_request_without_a_valid_token_is_refused() {
    let app = TestApp::start().await;
    let forged = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5LCJ0eXBlIjoiYWNjZXNzIn0.";
    let service_token = app.space.service_token("friend-service", "chat-service");

    for token in ["", "nonsense", forged, &service_token] {
        let client = app.server.client(token).with_header("x-user-id", "1").with_header("x-user-email", "a@b.c");
        for path in PATHS {
            let answer = client.get(path).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
            let body = answer.expect(401);
            assert_eq!(
                (&body["error"], &body["detail"]),
                (&json!("authentication_error"), &json!("Not authenticated"))
            );
        }
    }
}

#[tokio::test]
async fn the_token_is_checked_before_the_request_is_parsed() {
    let app = TestApp::start().await;
    let anonymous = app.anonymous();

    anonymous.post("/messages/x", json!("nonsense")).await.expect(401);
    anonymous.get("/chat-rooms/check/x?limit=x").await.expect(401);
    anonymous.post("/chat-rooms", json!({"participant_ids": "x"})).await.expect(401);
    anonymous.post("/chat-rooms/x/members", json!({})).await.expect(401);
    anonymous.delete("/chat-rooms/x/members/x").await.expect(401);
    anonymous.post("/messages/x/uploads", json!({})).await.expect(401);
    anonymous.get("/messages/x/file").await.expect(401);
    anonymous.get("/messages/x/thumbnail").await.expect(401);
    anonymous.put("/messages/x/reactions/x", json!({})).await.expect(401);
    anonymous.put("/chat-rooms/x/pin", json!({})).await.expect(401);
    anonymous.delete("/chat-rooms/x/mute").await.expect(401);
    anonymous.post("/messages/x/typing", json!({})).await.expect(401);
    anonymous.post("/messages/stream/ticket", json!({})).await.expect(401);
}

#[tokio::test]
async fn a_room_refuses_users_who_are_not_members() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let sent = ann.sends(room, "secret").await;
    let eve = app.person(3).client;

    eve.get(&format!("/messages/{room}")).await.expect(403);
    eve.post(&format!("/messages/{room}"), json!({"content": "hi"})).await.expect(403);
    eve.post("/messages", json!({"room_id": room, "content": "hi"})).await.expect(403);
    eve.get(&format!("/messages/room/{room}/unread-count")).await.expect(403);
    eve.post("/messages/read", json!({"room_id": room})).await.expect(403);
    for setting in ["pin", "mute"] {
        eve.put(&format!("/chat-rooms/{room}/{setting}"), json!({})).await.expect(403);
        eve.delete(&format!("/chat-rooms/{room}/{setting}")).await.expect(403);
    }
    eve.get(&format!("/messages/stream/{room}")).await.expect(403);
    let message = message_path(&sent);
    eve.delete(&message).await.expect(403);
    eve.put(&format!("{message}/reactions/👍"), json!({})).await.expect(403);
    eve.delete(&format!("{message}/reactions/👍")).await.expect(403);
    eve.post(&format!("/messages/{room}/typing"), json!({})).await.expect(403);
    for path in ["/messages/999999", "/messages/room/999999/unread-count", "/messages/stream/999999"] {
        assert_eq!(eve.get(path).await.expect(404)["message"], "Chat room not found");
    }
    assert_eq!(ann.messages(room).await.len(), 1);
}

#[tokio::test]
async fn every_error_has_the_same_shape() {
    let app = TestApp::start().await;
    let ann = app.person(1).client.with_header("x-request-id", "req-1");

    let unknown = ann.get("/api/nothing").await.expect(404);
    assert_json_snapshot!(unknown, @r#"
    {
      "detail": "Not Found",
      "details": null,
      "error": "resource_not_found",
      "message": "Not Found",
      "request_id": "req-1",
      "status_code": 404
    }
    "#);
    let method = ann.delete("/chat-rooms").await.expect(405);
    assert_json_snapshot!(method, @r#"
    {
      "detail": "Method Not Allowed",
      "details": null,
      "error": "method_not_allowed",
      "message": "Method Not Allowed",
      "request_id": "req-1",
      "status_code": 405
    }
    "#);
    let malformed = ann.request(Method::POST, "/messages/1").body("{\"content\": ");
    let malformed = ann.send(malformed).await.expect(422);
    assert_eq!(
        (&malformed["detail"][0]["type"], &malformed["detail"][0]["loc"][0]),
        (&json!("json_invalid"), &json!("body"))
    );
    let other_type = ann.request(Method::POST, "/messages/1").header("content-type", "text/plain").body("{}");
    ann.send(other_type).await.expect(422);
    let huge = ann.post("/messages/1", json!({"content": "x".repeat(300_000)})).await.expect(413);
    assert_eq!(huge["error"], "payload_too_large");
}

#[tokio::test]
async fn the_service_answers_its_health_metrics_and_documentation() {
    let app = TestApp::start().await;
    let client = app.anonymous();

    assert_eq!(client.get("/health").await.expect(200), json!({"status": "healthy", "service": "Chat Service"}));
    assert_eq!(client.get("/").await.expect(200)["status"], "running");
    let ready = client.get("/health/ready").await.expect(200);
    let dependencies = ready["dependencies"].as_array().unwrap();
    assert_eq!(pluck(dependencies, "name"), ["redis", "mysql", "mongodb", "kafka"]);
    let document = client.get("/openapi.json").await.expect(200);
    assert_eq!(
        operations(&document),
        [
            "delete /chat-rooms/{room_id}/members/{user_id}",
            "delete /chat-rooms/{room_id}/mute",
            "delete /chat-rooms/{room_id}/pin",
            "delete /messages/{id}",
            "delete /messages/{id}/reactions/{emoji}",
            "delete /messages/{id}/uploads/{upload_id}",
            "get /chat-rooms",
            "get /chat-rooms/check/{participant_id}",
            "get /chat-rooms/limits",
            "get /chat-rooms/unread",
            "get /chat-rooms/{room_id}",
            "get /messages",
            "get /messages/room/{room_id}/unread-count",
            "get /messages/search",
            "get /messages/stream",
            "get /messages/stream/{room_id}",
            "get /messages/{id}",
            "get /messages/{id}/file",
            "get /messages/{id}/thumbnail",
            "post /chat-rooms",
            "post /chat-rooms/{room_id}/members",
            "post /messages",
            "post /messages/read",
            "post /messages/stream/ticket",
            "post /messages/{id}",
            "post /messages/{id}/typing",
            "post /messages/{id}/uploads",
            "post /messages/{id}/uploads/{upload_id}/complete",
            "put /chat-rooms/{room_id}/mute",
            "put /chat-rooms/{room_id}/pin",
            "put /messages/{id}",
            "put /messages/{id}/reactions/{emoji}",
        ]
    );
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    for page in ["/docs/", "/redoc"] {
        assert_eq!(client.get(page).await.status, 200, "{page}");
    }
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains(
        r#"http_requests_total{handler="/api/health",method="GET",path="/health",status="200",service="chat-service"}"#
    ));
    assert!(metrics.contains(r#"active_sse_connections{service="chat-service"} 0"#));
}

#[test]
fn no_refusal_is_large_or_slow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_app, client) = runtime.block_on(async {
        let app = TestApp::start().await;
        let client = app.person(1).client;
        (app, client)
    });

    testkit::assert_refusals_are_bounded(&runtime, &client);
}
