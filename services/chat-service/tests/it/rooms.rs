//! Rooms: found or created, listed, shown.

use futures_util::future::join_all;
use serde_json::json;
use testkit::Events;

use crate::app::{NOBODY, TestApp};

#[tokio::test]
async fn two_people_have_one_room_from_both_sides() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));

    let room = ann.client.get("/api/chat-rooms/check/2").await.expect(200);

    assert_eq!(room["participants"], json!([{"id": 1, "username": "person_1"}, {"id": 2, "username": "person_2"}]));
    assert_eq!((&room["room_type"], &room["last_message"]), (&json!("direct"), &json!(null)));
    assert_eq!((&room["user_1_id"], &room["user_2_id"], &room["unread_count"]), (&json!(1), &json!(2), &json!(0)));
    let seen_by_bob = bob.client.get("/chat-rooms/check/1").await.expect(200);
    assert_eq!(seen_by_bob["id"], room["id"]);
    assert_eq!(seen_by_bob["participants"][0]["id"], 2, "the caller first");
}

#[tokio::test]
async fn a_hundred_calls_from_both_sides_end_in_one_room_and_one_event() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob) = (app.person(1), app.person(2));

    let calls = (0..50).flat_map(|_| [ann.room_with(2), ann.room_with(2)]).zip(0..50).map(|(call, _)| call);
    let others = (0..50).map(|_| bob.room_with(1));
    let (of_ann, of_bob) = tokio::join!(join_all(calls), join_all(others));

    let mut rooms: Vec<i64> = of_ann.into_iter().chain(of_bob).collect();
    rooms.dedup();
    assert_eq!(rooms.len(), 1);
    let created = Events::of(&app.space.topics().chat_events).expect("ChatRoomCreated", 1).await;
    assert_eq!((created.len(), &created[0]["participant_ids"]), (1, &json!([1, 2])));
}

#[tokio::test]
async fn nobody_chats_with_themselves_or_with_nobody() {
    let app = TestApp::start().await;
    let ann = app.person(1);

    let own = ann.client.get("/chat-rooms/check/1").await.expect(422);
    assert_eq!(own["error"], "CANNOT_CHAT_SELF");
    assert_eq!(own["detail"]["message"], "Cannot create chat room with yourself");
    ann.client.get(&format!("/chat-rooms/check/{NOBODY}")).await.expect(404);
    ann.client.get("/chat-rooms/check/x").await.expect(422);
    ann.client.get("/chat-rooms/check/0").await.expect(422);
}

#[tokio::test]
async fn a_room_with_someone_who_cannot_be_verified_is_not_opened() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let before = ann.room_with(2).await;
    app.hide_people();

    let answer = ann.client.get("/chat-rooms/check/3").await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(503);
    assert_eq!(ann.room_with(2).await, before, "a room that is there needs no verification");
}

#[tokio::test]
async fn a_room_is_for_its_members() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.two_in_a_room().await;
    let eve = app.person(3);

    assert_eq!(ann.client.get(&format!("/chat-rooms/{room}")).await.expect(200)["id"], room);
    let refused = eve.client.get(&format!("/chat-rooms/{room}")).await.expect(403);
    assert_eq!(refused["message"], "Access denied to this chat room");
    for unknown in ["999999", "x", "0", "-1", "9223372036854775807"] {
        let answer = ann.client.get(&format!("/chat-rooms/{unknown}")).await.expect(404);
        assert_eq!(answer["message"], "Chat room not found");
    }
}

#[tokio::test]
async fn the_list_shows_newest_activity_first_with_last_message_and_unread() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let mut rooms = Vec::new();
    for other in 2..=5 {
        let room = ann.room_with(other).await;
        app.person(other).says(room, &format!("hello from {other}")).await;
        rooms.push(room);
    }
    app.person(2).says(rooms[0], "once more").await;

    let list = ann.client.get("/chat-rooms").await.expect(200);

    let ids: Vec<i64> = list.as_array().unwrap().iter().map(|room| room["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [rooms[0], rooms[3], rooms[2], rooms[1]]);
    assert_eq!((&list[0]["last_message"]["content"], &list[0]["unread_count"]), (&json!("once more"), &json!(2)));
    let mut paged = Vec::new();
    for skip in 0..4 {
        let page = ann.client.get(&format!("/chat-rooms?skip={skip}&limit=1")).await.expect(200);
        paged.push(page[0]["id"].as_i64().unwrap());
    }
    assert_eq!(paged, ids, "pages do not overlap");
    assert_eq!(ann.client.get("/chat-rooms?skip=4").await.expect(200), json!([]));
    for wrong in ["limit=0", "limit=101", "skip=-1", "limit=x"] {
        ann.client.get(&format!("/chat-rooms?{wrong}")).await.expect(422);
    }
}
