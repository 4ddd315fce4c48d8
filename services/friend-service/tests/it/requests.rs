//! Friend requests: sending, answering, cancelling, and the list of pending ones.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_request_is_listed_for_both_users() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();

    let sent = ann.client.post("/friends/request", json!({"user_id_2": 2, "message": "안녕 👋"})).await.expect(201);

    assert_eq!(sent["request_id"], sent["id"]);
    assert!(sent["created_at"].as_str().unwrap().ends_with('Z'));
    assert_json_snapshot!(
        sent,
        {".id" => "[id]", ".request_id" => "[id]", ".created_at" => "[time]", ".updated_at" => "[time]"},
        @r#"
    {
      "created_at": "[time]",
      "deleted_at": null,
      "id": "[id]",
      "request_id": "[id]",
      "status": "pending",
      "updated_at": "[time]",
      "user_id_1": 1,
      "user_id_2": 2
    }
    "#
    );
    let expected = |user_id: i64, username: &str, kind: &str| {
        json!([{
            "friendship_id": sent["id"], "user_id": user_id, "username": username, "email": "", "status": "pending",
            "created_at": sent["created_at"], "request_type": kind, "message": "안녕 👋"
        }])
    };
    assert_eq!(ann.requests().await, json!({"received_requests": [], "sent_requests": expected(2, "bob", "sent")}));
    assert_eq!(bob.requests().await, json!({"received_requests": expected(1, "ann", "received"), "sent_requests": []}));
}

#[tokio::test]
async fn the_field_names_of_older_clients_are_accepted() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();
    app.user_service.add_user(3, "cara");

    ann.client.post("/api/friends/request", json!({"target_user_id": "2"})).await.expect(201);
    ann.client.post("/friends/request/", json!({"to_user_id": 3, "message": null})).await.expect(201);
}

#[tokio::test]
async fn a_message_that_shows_nothing_counts_as_none() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();

    for blank in ["", " \t", "\u{200b}", "\u{3164}", "\u{2800}"] {
        ann.client.post("/friends/request", json!({"user_id_2": 2, "message": blank})).await.expect(201);
        let received = bob.client.get("/friends/requests").await.expect(200);
        assert_eq!(received["received_requests"][0]["message"], serde_json::Value::Null, "{blank:?}");
        bob.client.put("/friends/status/1", json!({"action": "accept"})).await.expect(200);
        bob.client.delete("/friends/1").await.expect(200);
    }
}

#[tokio::test]
async fn users_cannot_send_requests_to_themselves_or_to_unknown_users() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();

    let oneself = ann.request(1).await.expect(400);
    let unknown = ann.request(99).await.expect(404);

    assert_eq!(oneself["detail"], "Cannot send friend request to yourself");
    assert_eq!(unknown["detail"], "Target user not found");
    assert_eq!((&unknown["error"], &unknown["status_code"]), (&json!("resource_not_found"), &json!(404)));
}

#[tokio::test]
async fn a_live_friendship_refuses_another_request() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    ann.request(2).await.expect(201);

    for again in [ann.request(2).await, bob.request(1).await] {
        assert_eq!(again.expect(400)["message"], "Friendship already exists or pending");
    }
    bob.answer(1, "accept").await.expect(200);
    bob.request(1).await.expect(400);
}

#[tokio::test]
async fn each_invalid_field_is_reported() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();
    let long = "x".repeat(501);

    for (body, field, kind) in [
        (json!({}), "user_id_2", "missing"),
        (json!({"user_id_2": "x"}), "user_id_2", "int_parsing"),
        (json!({"user_id_2": 0}), "user_id_2", "greater_than_equal"),
        (json!({"user_id_2": 2, "message": long}), "message", "string_too_long"),
        (json!({"user_id_2": 2, "message": "a\u{0}"}), "message", "value_error"),
    ] {
        let refused = ann.client.post("/friends/request", body).await.expect(422);
        assert_eq!(refused["validation_errors"][0]["field"], field);
        assert_eq!(refused["detail"][0]["type"], kind);
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]));
    }
    ann.client.put("/friends/status/2", json!({})).await.expect(422);
    ann.client.put("/friends/status/x", json!({"action": "accept"})).await.expect(422);
    ann.client.delete("/friends/request/0").await.expect(422);
}

#[tokio::test]
async fn an_accepted_request_is_a_friendship() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    let sent = ann.request(2).await.expect(201);

    let accepted = bob.answer(1, "accept").await.expect(200);

    assert_eq!((&accepted["id"], &accepted["status"]), (&sent["id"], &json!("accepted")));
    assert!(accepted["updated_at"].as_str() > sent["updated_at"].as_str());
    assert_eq!((ann.friends().await, bob.friends().await), (vec![2], vec![1]));
    assert_eq!(ann.requests().await["sent_requests"], json!([]));
}

#[tokio::test]
async fn a_rejected_or_cancelled_request_stays_as_history_and_can_be_sent_again() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();

    ann.request(2).await.expect(201);
    let rejected = bob.answer(1, "reject").await.expect(200);
    bob.request(1).await.expect(201);
    let cancelled = bob.cancel(1).await.expect(200);
    ann.request(2).await.expect(201);

    assert_eq!(rejected, json!({"message": "Friend request rejected successfully"}));
    assert_eq!(cancelled, json!({"message": "Friend request cancelled successfully", "target_user_id": 1}));
    assert_eq!(app.live_friendships(1, 2).await, 1);
    let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM friendships").fetch_one(&app.pool).await.unwrap();
    assert_eq!(all, 3);
}

#[tokio::test]
async fn only_the_addressee_answers_and_only_the_requester_cancels() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    ann.request(2).await.expect(201);

    for refused in [
        ann.answer(2, "accept").await,
        ann.answer(1, "accept").await,
        bob.answer(3, "reject").await,
        bob.cancel(1).await,
        bob.cancel(2).await,
    ] {
        assert_eq!(refused.expect(400)["detail"], "Friend request not found or already processed");
    }
    let unknown = bob.answer(1, "ignore").await.expect(400);
    assert_eq!(unknown["detail"], "action must be either \"accept\" or \"reject\"");
    bob.answer(1, "accept").await.expect(200);
    bob.answer(1, "accept").await.expect(400);
    ann.cancel(2).await.expect(400);
}

#[tokio::test]
async fn the_paths_of_older_clients_work() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    let cara = app.person(3, "cara");
    let first = ann.request(2).await.expect(201)["request_id"].clone();
    let second = cara.request(2).await.expect(201)["request_id"].clone();

    let pending = bob.client.get("/friends/requests/pending").await.expect(200);
    assert_eq!(pending, bob.requests().await["received_requests"]);
    assert_eq!(pending.as_array().unwrap().len(), 2);
    ann.client.post(&format!("/friends/{first}/accept"), json!({})).await.expect(400);
    assert_eq!(bob.client.post(&format!("/friends/{first}/accept"), json!({})).await.expect(200)["status"], "accepted");
    bob.client.post(&format!("/friends/{second}/reject"), json!({})).await.expect(200);
    bob.client.post(&format!("/friends/{second}/reject"), json!({})).await.expect(400);
    assert_eq!(bob.friends().await, [1]);
}

#[tokio::test]
async fn a_missing_token_is_401_before_any_other_error() {
    let app = TestApp::start().await;
    let anonymous = app.server.client("").with_header("x-user-id", "1");

    for refused in [
        anonymous.post("/friends/request", json!({"user_id_2": "x"})).await,
        anonymous.put("/friends/status/x", json!({})).await,
        anonymous.delete("/friends/request/x").await,
        anonymous.get("/friends/list?limit=x").await,
        anonymous.get("/friends").await,
        anonymous.get("/friends/requests").await,
        anonymous.get("/friends/requests/pending").await,
        anonymous.get("/friends/search").await,
        anonymous.delete("/friends/x").await,
        anonymous.post("/friends/block/x", json!({})).await,
        anonymous.delete("/friends/block/x").await,
        anonymous.get("/friends/blocked").await,
        anonymous.get("/friends/blocks?limit=x").await,
        anonymous.post("/friends/x/accept", json!({})).await,
    ] {
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.expect(401)["detail"], "Not authenticated");
    }
}

#[tokio::test]
async fn requests_are_counted_by_outcome() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    ann.request(2).await.expect(201);
    ann.request(2).await.expect(400);
    ann.cancel(2).await.expect(200);
    ann.request(2).await.expect(201);
    bob.answer(1, "reject").await.expect(200);

    for (status, count) in [("sent", 2.0), ("cancelled", 1.0), ("rejected", 1.0), ("accepted", 0.0)] {
        let series = format!("friend_request_total{{status=\"{status}\"}}");
        assert_eq!(app.metric(&series).await, count, "{status}");
    }
}
