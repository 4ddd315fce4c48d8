//! The audit log: one line for each change of a membership, with ids only.

use serde_json::json;
use testkit::{AuditLog, early_in_a_minute, eventually};

use crate::app::TestApp;
use crate::fakes::UNKNOWN_USER;

async fn blocks_are_known(app: &TestApp) {
    eventually("the blocks are known", || async {
        app.anonymous().get("/metrics").await.text.contains("blocks_known{service=\"chat-service\"} 1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_change_of_a_membership_is_in_the_audit_log_with_its_outcome() {
    let app = TestApp::start().await;
    blocks_are_known(&app).await;
    let [ann, bob, cara] = [1, 2, 3].map(|id| app.person(id).client);
    let log = AuditLog::record();

    let direct = ann.get("/chat-rooms/check/2").await.expect(200)["id"].clone();
    ann.get("/chat-rooms/check/2").await.expect(200);
    ann.get(&format!("/chat-rooms/check/{UNKNOWN_USER}")).await.expect(404);
    app.person(6).client.get("/chat-rooms/check/7").await.expect(403);
    let new = |others: &[i64]| json!({"name": "private name", "participant_ids": others});
    let group = ann.post("/chat-rooms", new(&[2, 3])).await.expect(201)["id"].clone();
    ann.post("/chat-rooms", new(&[2, UNKNOWN_USER])).await.expect(404);
    let members = format!("/chat-rooms/{group}/members");
    ann.post(&members, json!({"user_ids": [2, 4, 5]})).await.expect(200);
    ann.post(&members, json!({"user_ids": [4]})).await.expect(200);
    bob.post(&members, json!({"user_ids": [9]})).await.expect(403);
    bob.delete(&format!("{members}/3")).await.expect(403);
    ann.delete(&format!("{members}/2")).await.expect(200);
    cara.delete(&format!("{members}/3")).await.expect(200);
    ann.post(&members, json!({"user_ids": [3]})).await.expect(403);

    let lines = log.take();
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("private") && !text.contains("person_"), "{text}");
    assert!(lines.iter().all(|line| line["address"] == "127.0.0.1"), "{text}");
    let acts: Vec<_> = lines.iter().map(AuditLog::act).collect();
    assert_eq!(
        acts,
        [
            format!("room_create success - 1 {direct}/2"),
            format!("room_create refused resource_not_found 1 /{UNKNOWN_USER}"),
            "room_create refused BLOCKED 6 /7".to_owned(),
            format!("room_create success - 1 {group}/2,3"),
            "room_create refused resource_not_found 1 ".to_owned(),
            format!("member_add success - 1 {group}/4,5"),
            format!("member_add refused authorization_error 2 {group}"),
            format!("member_remove refused authorization_error 2 {group}/3"),
            format!("member_remove success - 1 {group}/2"),
            format!("member_leave success - 3 {group}/3"),
            format!("member_add refused LEFT_GROUP 1 {group}"),
        ]
    );
    let metrics = app.anonymous().get("/metrics").await.text;
    let counted = "audit_events_total{action=\"member_add\",outcome=\"refused\",service=\"chat-service\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_refusal_by_the_budget_of_rooms_is_in_the_audit_log() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_ROOMS", "1".to_owned())]).await;
    blocks_are_known(&app).await;
    let ann = app.person(1).client;
    early_in_a_minute().await;
    let new = json!({"name": "a group", "participant_ids": [2, 3]});
    let group = ann.post("/chat-rooms", new.clone()).await.expect(201)["id"].clone();
    let members = format!("/chat-rooms/{group}/members");
    let log = AuditLog::record();

    ann.get("/chat-rooms/check/2").await.expect(429);
    ann.post("/chat-rooms", new).await.expect(429);
    ann.post(&members, json!({"user_ids": [4]})).await.expect(429);
    ann.delete(&format!("{members}/2")).await.expect(429);
    ann.delete(&format!("{members}/1")).await.expect(429);

    let acts: Vec<_> = log.take().iter().map(AuditLog::act).collect();
    let refused = "refused rate_limit_exceeded 1";
    assert_eq!(
        acts,
        [
            format!("room_create {refused} /2"),
            format!("room_create {refused} "),
            format!("member_add {refused} {group}"),
            format!("member_remove {refused} {group}/2"),
            format!("member_leave {refused} {group}/1"),
        ]
    );
}
