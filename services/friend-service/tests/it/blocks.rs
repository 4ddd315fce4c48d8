//! Blocks, and their effects on friendships and requests.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_block_ends_a_friendship_and_prevents_requests_in_both_directions() {
    let app = TestApp::start().await;
    let (ann, bob) = app.two_friends().await;

    ann.block(2).await.expect(200);

    assert!(ann.friends().await.is_empty() && bob.friends().await.is_empty());
    for refused in [ann.request(2).await, bob.request(1).await] {
        let body = refused.expect(403);
        assert_eq!(
            (&body["error"], &body["detail"]),
            (&json!("BLOCKED"), &json!("Cannot send friend request to this user"))
        );
    }
}

#[tokio::test]
async fn a_block_cancels_a_sent_request_and_rejects_a_received_one() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    let cara = app.person(3, "cara");
    ann.request(2).await.expect(201);
    cara.request(2).await.expect(201);

    ann.block(2).await.expect(200);
    bob.block(3).await.expect(200);

    bob.answer(1, "accept").await.expect(400);
    bob.answer(3, "accept").await.expect(400);
    assert_eq!(app.metric("friend_request_total{status=\"cancelled\"}").await, 1.0);
    assert_eq!(app.metric("friend_request_total{status=\"rejected\"}").await, 1.0);
}

#[tokio::test]
async fn blocked_users_are_listed_until_they_are_unblocked() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    app.person(3, "cara");
    ann.block(2).await.expect(200);
    ann.block(3).await.expect(200);
    ann.block(2).await.expect(200);

    let blocked = ann.client.get("/friends/blocked").await.expect(200);

    assert!(blocked[0]["blocked_at"].as_str().unwrap().ends_with('Z'));
    assert_json_snapshot!(blocked, {"[].blocked_at" => "[time]"}, @r#"
    [
      {
        "blocked_at": "[time]",
        "user_id": 3,
        "username": "cara"
      },
      {
        "blocked_at": "[time]",
        "user_id": 2,
        "username": "bob"
      }
    ]
    "#);
    assert_eq!(bob.client.get("/friends/blocked").await.expect(200), json!([]));
    ann.unblock(2).await.expect(200);
    assert_eq!(ann.unblock(2).await.expect(404)["detail"], "User is not blocked");
    bob.request(1).await.expect(201);
}

#[tokio::test]
async fn users_cannot_block_themselves_or_unknown_users() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();

    ann.block(1).await.expect(400);
    ann.unblock(1).await.expect(400);
    ann.block(99).await.expect(404);
    ann.client.post("/friends/block/x", json!({})).await.expect(422);
}

#[tokio::test]
async fn mutual_blocks_end_separately() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    ann.block(2).await.expect(200);
    bob.block(1).await.expect(200);

    ann.unblock(2).await.expect(200);
    ann.request(2).await.expect(403);
    bob.unblock(1).await.expect(200);
    ann.request(2).await.expect(201);
}

#[tokio::test]
async fn services_load_all_blocks_page_by_page() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    for id in 2..=6 {
        app.person(id, &format!("user{id}"));
        ann.block(id).await.expect(200);
    }

    let (mut since, mut blocked) = (json!(0), Vec::new());
    while !since.is_null() {
        let page = app.chat_service().get(&format!("/friends/blocks?since_id={since}&limit=2")).await.expect(200);
        blocked.extend(page["blocks"].as_array().unwrap().iter().map(|b| b["blocked_user_id"].as_i64().unwrap()));
        since = page["next_since_id"].clone();
    }

    assert_eq!(blocked, [2, 3, 4, 5, 6]);
    let whole = app.chat_service().get("/api/friends/blocks").await.expect(200);
    assert_eq!((whole["blocks"].as_array().unwrap().len(), &whole["next_since_id"]), (5, &json!(null)));
    assert_eq!(whole["blocks"][0]["user_id"], 1);
    app.chat_service().get("/friends/blocks?limit=1001").await.expect(422);
    ann.client.get("/friends/blocks").await.expect(401);
}
