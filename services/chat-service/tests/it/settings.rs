//! Pins and mutes of rooms.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::Client;

use crate::app::TestApp;
use crate::person::{pluck, repeat_until};

async fn settings(client: &Client, room: i64) -> (Value, Value) {
    let mut body = client.get(&format!("/chat-rooms/{room}")).await.expect(200);
    (body["pinned"].take(), body["muted"].take())
}

#[tokio::test]
async fn pins_and_mutes_are_kept_for_each_member() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (pin, mute) = (format!("/chat-rooms/{room}/pin"), format!("/chat-rooms/{room}/mute"));

    let body = ann.client.put(&pin, json!({})).await.expect(200);
    assert_eq!(body, json!({"room_id": room, "pinned": true, "muted": false}));
    ann.client.put(&format!("/api{pin}"), json!({})).await.expect(200);
    assert_eq!(ann.client.put(&mute, json!({})).await.expect(200)["muted"], true);
    assert_eq!(settings(&ann.client, room).await, (json!(true), json!(true)));
    assert_eq!(settings(&bob.client, room).await, (json!(false), json!(false)));
    assert_eq!(ann.client.delete(&pin).await.expect(200), json!({"room_id": room, "pinned": false, "muted": true}));
    ann.client.delete(&mute).await.expect(200);
    ann.client.delete(&mute).await.expect(200);
    assert_eq!(settings(&ann.client, room).await, (json!(false), json!(false)));
    ann.client.put("/chat-rooms/x/pin", json!({})).await.expect(422);
    ann.client.put("/chat-rooms/999999/mute", json!({})).await.expect(404);
}

#[tokio::test]
async fn a_pin_does_not_change_the_order_of_rooms() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let rooms = [ann.room_with(2).await, ann.room_with(3).await];
    for room in rooms {
        ann.sends(room, "hello").await;
    }

    ann.client.put(&format!("/chat-rooms/{}/pin", rooms[0]), json!({})).await.expect(200);

    assert_eq!(pluck(&ann.rooms().await, "id"), [rooms[1], rooms[0]]);
}

#[tokio::test]
async fn a_muted_room_is_not_part_of_the_unread_total() {
    let app = TestApp::start().await;
    let (ann, bob, loud) = app.direct_room().await;
    let quiet = ann.group_with(&[2, 3]).await;
    ann.sends(loud, "one").await;
    ann.sends(quiet, "two").await;
    bob.client.put(&format!("/chat-rooms/{quiet}/mute"), json!({})).await.expect(200);

    let unread = bob.client.get("/chat-rooms/unread").await.expect(200);

    assert_eq!(unread["total"], 1);
    assert_eq!(pluck(unread["rooms"].as_array().unwrap(), "muted"), [true, false]);
    assert_eq!(bob.unread(quiet).await, 1);
}

#[tokio::test]
async fn other_tabs_of_the_member_receive_a_change_on_every_replica() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let mut tabs = Vec::new();
    for client in [&ann.client, &app.person_at(&replica, ann.id).client, &bob.client] {
        let mut stream = client.stream("/messages/stream", None).await;
        assert_eq!(stream.next().await.name, "connected");
        tabs.push(stream);
    }
    let [here, there, of_bob] = tabs.get_disjoint_mut([0, 1, 2]).unwrap();
    let (mute, pin) = (format!("/chat-rooms/{room}/mute"), format!("/chat-rooms/{room}/pin"));
    // A notice reaches only the replicas that have subscribed, which happens after their start.
    let mutes = async || {
        ann.client.delete(&mute).await.expect(200);
        ann.client.put(&mute, json!({})).await.expect(200);
    };
    let pins = async || {
        bob.client.delete(&pin).await.expect(200);
        bob.client.put(&pin, json!({})).await.expect(200);
    };

    for stream in [here, there] {
        let event = repeat_until(stream, mutes, |event| event.data["muted"] == true).await;
        assert_eq!(event.name, "chat_room_settings");
        assert_eq!(event.data, json!({"room_id": room, "pinned": false, "muted": true}));
    }
    let event = repeat_until(of_bob, pins, |event| event.name == "chat_room_settings").await;
    assert_eq!(event.data, json!({"room_id": room, "pinned": true, "muted": false}));
}

#[tokio::test]
async fn a_member_who_left_and_came_back_has_no_settings() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[2, 3]).await;
    bob.client.put(&format!("/chat-rooms/{group}/mute"), json!({})).await.expect(200);

    ann.removes(group, 2).await.expect(200);
    ann.adds(group, &[2]).await.expect(200);

    assert_eq!(settings(&bob.client, group).await, (json!(false), json!(false)));
}

#[tokio::test]
async fn a_late_announcement_of_an_earlier_change_shows_the_current_settings() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let mut stream = ann.client.stream("/messages/stream", None).await;
    assert_eq!(stream.next().await.name, "connected");
    ann.client.put(&format!("/chat-rooms/{room}/mute"), json!({})).await.expect(200);

    // The announcement of a device that turned the mute off before.
    let late = json!({"user": ann.id, "room": room, "settings": {"pinned": false, "muted": false}}).to_string();
    let mut redis = app.redis().await;
    let announce = async || redis.clone().publish(app.redis_key("chat:settings"), &late).await.unwrap();
    let mut events = Vec::new();
    repeat_until(&mut stream, announce, |event| {
        events.push(event.data["muted"].clone());
        events.len() > 2
    })
    .await;

    assert_eq!(events, [true, true, true]);
    let _: () = redis.publish(app.redis_key("chat:settings"), "{}").await.unwrap();
}

#[tokio::test]
async fn a_pin_that_races_with_a_leave_leaves_no_row() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[2, 3]).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();

    // The leave has deleted the member and the settings, and not yet committed.
    let mut leave = mysql.begin().await.unwrap();
    for delete in [
        "DELETE FROM room_members WHERE user_id = 2 AND chat_room_id = ?",
        "DELETE FROM chat_room_settings WHERE user_id = 2 AND room_id = ?",
    ] {
        sqlx::query(delete).bind(group).execute(&mut *leave).await.unwrap();
    }
    let path = format!("/chat-rooms/{group}/pin");
    let pin = bob.client.put(&path, json!({}));
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        leave.commit().await.unwrap();
    };
    let (pinned, ()) = tokio::join!(pin, end);

    pinned.expect(403);
    let rows = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM chat_room_settings WHERE room_id = ?");
    assert_eq!(rows.bind(group).fetch_one(&mut mysql).await.unwrap(), 0);
}
