//! Blocks: users of a blocked pair cannot send each other direct messages, and do not bring each other into rooms.

use std::time::Duration;

use common::events::friend::{UserBlocked, UserUnblocked};
use common::events::user::UserOnlineStatusChanged;
use common::id::UserId;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::{Answer, SLACK, eventually};

use crate::app::TestApp;
use crate::fakes::{BlockList, friend_service_with};
use crate::person::{Person, repeat_until};

/// Creates a direct room without a request, which a block would refuse.
pub async fn existing_room(app: &TestApp, low: i64, high: i64) -> i64 {
    let mut connection = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let insert = sqlx::query("INSERT INTO chat_rooms (user_1_id, user_2_id) VALUES (?, ?)").bind(low).bind(high);
    insert.execute(&mut connection).await.unwrap().last_insert_id() as i64
}

/// Publishes a block of `blocker` until the service refuses direct messages. The consumer misses events of the time before it
/// reads the new topic.
async fn block(app: &TestApp, blocker: &Person, blocked: &Person, room: i64) {
    let (user_id, blocked_user_id) = (UserId(blocker.id), UserId(blocked.id));
    eventually("the block is applied", || async {
        app.publish(&UserBlocked { user_id, blocked_user_id }, 5).await;
        (blocker.tries_to_send(room, "hello?").await.status == 403).then_some(())
    })
    .await;
}

fn assert_blocked(answer: Answer) {
    assert_eq!(answer.expect(403)["error"], "BLOCKED");
}

#[tokio::test]
async fn blocks_from_before_the_start_are_loaded() {
    let app = TestApp::start().await;

    for (blocker, blocked) in [(6, 7), (8, 9)] {
        let room = existing_room(&app, blocker, blocked).await;
        for person in [app.person(blocker), app.person(blocked)] {
            let refused = eventually("the block is loaded", || async {
                let answer = person.tries_to_send(room, "hello?").await;
                (answer.status == 403).then_some(answer.body)
            })
            .await;
            assert_eq!(refused["error"], "BLOCKED");
            assert_blocked(person.client.post(&format!("/messages/{room}/typing"), json!({})).await);
            person.client.get(&format!("/messages/{room}")).await.expect(200);
        }
    }
    let (ann, _, room) = app.direct_room().await;
    ann.sends(room, "hello").await;
}

#[tokio::test]
async fn a_new_block_counts_without_an_event() {
    /// The contract's limit, with slack for a loaded machine.
    const LIMIT: Duration = Duration::from_secs(5 * SLACK as u64);
    let blocks = BlockList::default();
    let app = TestApp::start_with(&[("FRIEND_SERVICE_URL", friend_service_with(blocks.clone()).await)]).await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "before").await;

    blocks.lock().unwrap().extend([(30, 31), (2, 1)]);
    let refused =
        eventually("the block counts", || async { (ann.tries_to_send(room, "?").await.status == 403).then_some(()) });
    tokio::time::timeout(LIMIT, refused).await.unwrap();
    assert_blocked(bob.tries_to_send(room, "?").await);
}

#[tokio::test]
async fn without_friend_service_messages_are_refused_at_first_and_then_sent() {
    let app = TestApp::start_with(&[("FRIEND_SERVICE_URL", "http://127.0.0.1:1".to_owned())]).await;
    let (ann, room) = (app.person(1), existing_room(&app, 1, 2).await);

    eventually("the message is sent", || async {
        let answer = ann.tries_to_send(room, "hello?").await;
        assert!([201, 503].contains(&answer.status), "{}", answer.status);
        (answer.status == 201).then_some(())
    })
    .await;
    let metrics = app.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"blocks_known{service="chat-service"} 0"#));
    assert!(metrics.contains(r#"blocks_unknown_total{outcome="allowed",service="chat-service"} 1"#));
}

#[tokio::test]
async fn a_block_refuses_a_new_direct_room_and_finds_the_existing_one() {
    let app = TestApp::start().await;
    let room = existing_room(&app, 6, 7).await;
    let [blocker, blocked] = [8, 9].map(|id| app.person(id));
    eventually("the blocks are loaded", || async {
        (app.person(6).tries_to_send(room, "?").await.status == 403).then_some(())
    })
    .await;

    for (person, other) in [(&blocker, &blocked), (&blocked, &blocker)] {
        assert_blocked(person.client.get(&format!("/chat-rooms/check/{}", other.id)).await);
        assert_blocked(person.client.post("/chat-rooms", json!({"participant_ids": [other.id]})).await);
        assert!(person.rooms().await.is_empty());
    }
    for (person, other) in [(6, 7), (7, 6)] {
        assert_eq!(app.person(person).room_with(other).await, room);
        let found =
            app.person(person).client.post("/chat-rooms", json!({"participant_ids": [other]})).await.expect(200);
        assert_eq!(found["id"], room);
    }
}

#[tokio::test]
async fn a_block_refuses_groups_and_additions_between_the_actor_and_the_added() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let eve = app.person(3);
    let (of_ann, of_bob) = (ann.group_with(&[3, 4]).await, bob.group_with(&[3, 4]).await);
    block(&app, &ann, &bob, room).await;

    for (person, other, group) in [(&ann, 2, of_ann), (&bob, 1, of_bob)] {
        assert_blocked(person.client.post("/chat-rooms", json!({"participant_ids": [3, other]})).await);
        assert_blocked(person.adds(group, &[5, other]).await);
        person.adds(group, &[5]).await.expect(200);
        assert_eq!(person.rooms().await.len(), 2, "the direct room and the group");
    }

    // A third user brings both together. Each of them can leave, and does not come back.
    let common = eve.group_with(&[1, 2]).await;
    bob.sends(common, "hello").await;
    ann.removes(common, 1).await.expect(200);
    assert_eq!(eve.adds(common, &[1]).await.expect(403)["error"], "LEFT_GROUP");
}

#[tokio::test]
async fn a_block_within_an_existing_group_stays_with_its_members() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let group = ann.group_with(&[2, 3]).await;
    block(&app, &ann, &bob, room).await;

    ann.adds(group, &[2]).await.expect(200);
    bob.sends(group, "hello").await;
    assert_eq!(ann.messages(group).await.len(), 1);
}

#[tokio::test]
async fn the_presence_of_the_blocker_is_hidden_from_the_blocked() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    bob.room_with(3).await;
    let mut bobs = bob.client.stream("/messages/stream", None).await;
    let online = |id| UserOnlineStatusChanged { user_id: UserId(id), is_online: true };
    let about = |id: i64| move |event: &testkit::Event| event.name == "presence" && event.data["user_id"] == id;
    repeat_until(&mut bobs, async || app.publish(&online(1), 1).await, about(1)).await;

    block(&app, &ann, &bob, room).await;
    while bobs.next_within(Duration::from_millis(500)).await.is_some() {}
    let mut anns = ann.client.stream("/messages/stream", None).await;

    let mut seen = Vec::new();
    let publish = async || {
        for id in [1, 2, 3] {
            app.publish(&online(id), 2).await;
        }
    };
    repeat_until(&mut bobs, publish, |event| {
        seen.push(event.data["user_id"].clone());
        about(3)(event)
    })
    .await;
    assert!(!seen.contains(&json!(1)), "{seen:?}");
    repeat_until(&mut anns, publish, about(2)).await;
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
    block(&app, &bob, &ann, room).await;

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
