//! Blocks: users of a blocked pair cannot send each other direct messages.

use common::events::friend::{UserBlocked, UserUnblocked};
use common::id::UserId;
use serde_json::{Value, json};
use testkit::eventually;

use crate::app::TestApp;

#[tokio::test]
async fn blocks_from_before_the_start_are_loaded() {
    let app = TestApp::start().await;

    for (blocker, blocked) in [(6, 7), (8, 9)] {
        let room = app.person(blocker).room_with(blocked).await;
        for person in [app.person(blocker), app.person(blocked)] {
            let refused = eventually("the block is loaded", || async {
                let answer = person.tries_to_send(room, "hello?").await;
                (answer.status == 403).then_some(answer.body)
            })
            .await;
            assert_eq!(refused["error"], "BLOCKED");
            person.client.get(&format!("/messages/{room}")).await.expect(200);
        }
    }
    let (ann, _, room) = app.direct_room().await;
    ann.sends(room, "hello").await;
}

#[tokio::test]
async fn a_block_follows_its_events_and_ignores_older_versions() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let (user_id, blocked_user_id) = (UserId(1), UserId(2));

    // The consumer misses events of the time before it reads the new topic, so the event is published repeatedly.
    eventually("the block is applied", || async {
        app.publish(&UserBlocked { user_id, blocked_user_id }, 5).await;
        (bob.tries_to_send(room, "hello?").await.status == 403).then_some(())
    })
    .await;
    ann.tries_to_send(room, "hello?").await.expect(403);
    app.publish(&UserUnblocked { user_id, blocked_user_id }, 8).await;
    app.publish(&UserBlocked { user_id, blocked_user_id }, 7).await;
    eventually("the block is removed", || async {
        (bob.tries_to_send(room, "hello?").await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_block_stops_edits_and_reactions_but_no_deletion() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let [edited, deleted] = [ann.sends(room, "first").await, ann.sends(room, "second").await];
    let path = |message: &Value| format!("/messages/{}", message["id"].as_str().unwrap());
    let reaction = format!("{}/reactions/👍", path(&edited));
    bob.client.put(&reaction, Value::Null).await.expect(200);
    let (user_id, blocked_user_id) = (UserId(2), UserId(1));
    eventually("the block is applied", || async {
        app.publish(&UserBlocked { user_id, blocked_user_id }, 5).await;
        (ann.tries_to_send(room, "hello?").await.status == 403).then_some(())
    })
    .await;

    let edit = ann.client.put(&path(&edited), json!({"content": "an insult"})).await;
    assert_eq!(edit.expect(403)["error"], "BLOCKED");
    for person in [&ann, &bob] {
        let other = format!("{}/reactions/🎉", path(&deleted));
        assert_eq!(person.client.put(&other, Value::Null).await.expect(403)["error"], "BLOCKED");
    }

    bob.client.delete(&reaction).await.expect(200);
    ann.client.delete(&path(&deleted)).await.expect(200);
    let left = ann.messages(room).await;
    let left = left.iter().find(|message| message["id"] == edited["id"]).unwrap();
    assert_eq!((&left["content"], &left["reactions"]), (&json!("first"), &json!([])));
    assert!(ann.messages(room).await.iter().all(|message| message["id"] != deleted["id"]));
}
