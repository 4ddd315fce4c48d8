//! The audit log: one line for each act, with ids only.

use testkit::{AuditLog, early_in_a_minute};

use crate::app::TestApp;

#[tokio::test]
async fn every_change_of_a_relationship_is_in_the_audit_log_with_its_outcome() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    let log = AuditLog::record();

    ann.request(2).await.expect(201);
    ann.request(2).await.expect(400);
    ann.client.delete("/friends/request/2").await.expect(200);
    ann.request(2).await.expect(201);
    bob.answer(1, "reject").await.expect(200);
    bob.answer(1, "accept").await.expect(400);
    bob.request(1).await.expect(201);
    ann.answer(2, "accept").await.expect(200);
    ann.client.delete("/friends/2").await.expect(200);
    ann.client.delete("/friends/2").await.expect(404);
    ann.block(2).await.expect(200);
    bob.request(1).await.expect(403);
    ann.client.delete("/friends/block/2").await.expect(200);
    ann.client.delete("/friends/block/2").await.expect(404);

    let acts: Vec<_> = log.take().iter().map(AuditLog::act).collect();
    assert_eq!(
        acts,
        [
            "request_send success - 1 2",
            "request_send refused business_logic_error 1 2",
            "request_cancel success - 1 2",
            "request_send success - 1 2",
            "request_reject success - 2 1",
            "request_accept refused business_logic_error 2 1",
            "request_send success - 2 1",
            "request_accept success - 1 2",
            "friend_remove success - 1 2",
            "friend_remove refused resource_not_found 1 2",
            "user_block success - 1 2",
            "request_send refused BLOCKED 2 1",
            "user_unblock success - 1 2",
            "user_unblock refused resource_not_found 1 2",
        ]
    );
    assert_eq!(app.metric("audit_events_total{action=\"request_send\",outcome=\"refused\"}").await, 2.0);
    assert_eq!(app.metric("audit_events_total{action=\"user_block\",outcome=\"success\"}").await, 1.0);
}

#[tokio::test]
async fn a_refusal_by_the_budget_of_writes_is_in_the_audit_log() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_FRIENDS", "1")]).await;
    let (ann, bob) = app.ann_and_bob();
    early_in_a_minute().await;
    ann.request(2).await.expect(201);
    bob.block(3).await.expect(404);
    let log = AuditLog::record();

    ann.request(2).await.expect(429);
    ann.cancel(2).await.expect(429);
    bob.answer(1, "accept").await.expect(429);
    bob.answer(1, "reject").await.expect(429);
    ann.unfriend(2).await.expect(429);
    ann.block(2).await.expect(429);
    ann.unblock(2).await.expect(429);

    let acts: Vec<_> = log.take().iter().map(AuditLog::act).collect();
    assert_eq!(
        acts,
        [
            "request_send refused rate_limit_exceeded 1 2",
            "request_cancel refused rate_limit_exceeded 1 2",
            "request_accept refused rate_limit_exceeded 2 1",
            "request_reject refused rate_limit_exceeded 2 1",
            "friend_remove refused rate_limit_exceeded 1 2",
            "user_block refused rate_limit_exceeded 1 2",
            "user_unblock refused rate_limit_exceeded 1 2",
        ]
    );
}

#[tokio::test]
async fn a_line_has_the_address_of_the_client_and_no_names_or_texts() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();
    let log = AuditLog::record();

    let body = serde_json::json!({"user_id_2": 2, "message": "private text"});
    ann.client.with_header("x-forwarded-for", "203.0.113.7").post("/friends/request", body).await.expect(201);

    let lines = log.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["address"], "203.0.113.7");
    let text = lines[0].to_string();
    assert!(!["private", "ann", "bob"].iter().any(|word| text.contains(word)), "{text}");
}
