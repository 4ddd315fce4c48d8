//! Rooms: creation, list, and access.

use std::time::Duration;

use futures_util::future::join_all;
use insta::assert_json_snapshot;
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::Events;

use crate::app::TestApp;
use crate::fakes::UNKNOWN_USER;
use crate::person::pluck;

#[tokio::test]
async fn two_users_share_one_direct_room() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));

    let room = ann.client.get("/api/chat-rooms/check/2").await.expect(200);

    assert_json_snapshot!(room, {".id" => "[id]", ".created_at" => "[time]", ".updated_at" => "[time]"}, @r#"
    {
      "created_at": "[time]",
      "creator_id": null,
      "id": "[id]",
      "last_message": null,
      "member_count": 2,
      "muted": false,
      "name": null,
      "participants": [
        {
          "id": 1,
          "username": "person_1"
        },
        {
          "id": 2,
          "username": "person_2"
        }
      ],
      "pinned": false,
      "room_type": "direct",
      "unread_count": 0,
      "updated_at": "[time]",
      "user_1_id": 1,
      "user_2_id": 2
    }
    "#);
    let seen_by_bob = bob.client.get("/chat-rooms/check/1").await.expect(200);
    assert_eq!(seen_by_bob["id"], room["id"]);
    assert_eq!(seen_by_bob["participants"][0]["id"], 2, "the caller comes first");
}

#[tokio::test]
async fn a_hundred_concurrent_calls_from_both_sides_create_one_room_and_one_event() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob) = (app.person(1), app.person(2));

    let from_ann = join_all((0..50).map(|_| ann.room_with(2)));
    let from_bob = join_all((0..50).map(|_| bob.room_with(1)));
    let (from_ann, from_bob) = tokio::join!(from_ann, from_bob);

    let mut rooms: Vec<i64> = from_ann.into_iter().chain(from_bob).collect();
    rooms.dedup();
    assert_eq!(rooms.len(), 1);
    let created = Events::of(&app.space.topics().chat_events).expect("ChatRoomCreated", 1).await;
    assert_eq!((created.len(), &created[0]["participant_ids"]), (1, &json!([1, 2])));
}

#[tokio::test]
async fn a_direct_room_needs_another_existing_user() {
    let app = TestApp::start().await;
    let ann = app.person(1);

    let refused = ann.client.get("/chat-rooms/check/1").await.expect(422);
    assert_eq!(refused["error"], "CANNOT_CHAT_SELF");
    assert_eq!(refused["detail"]["message"], "Cannot create chat room with yourself");
    ann.client.get(&format!("/chat-rooms/check/{UNKNOWN_USER}")).await.expect(404);
    ann.client.get("/chat-rooms/check/x").await.expect(422);
    ann.client.get("/chat-rooms/check/0").await.expect(422);
}

#[tokio::test]
async fn a_room_is_not_created_while_user_service_cannot_verify_the_other_user() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let existing = ann.room_with(2).await;
    app.stop_user_service();

    let answer = ann.client.get("/chat-rooms/check/3").await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(503);
    assert_eq!(ann.room_with(2).await, existing, "an existing room needs no verification");
}

#[tokio::test]
async fn a_room_is_shown_to_its_members_only() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let eve = app.person(3);

    assert_eq!(ann.client.get(&format!("/chat-rooms/{room}")).await.expect(200)["id"], room);
    let refused = eve.client.get(&format!("/chat-rooms/{room}")).await.expect(403);
    assert_eq!(refused["message"], "Access denied to this chat room");
    for unknown in ["999999", "x", "1.5", "9223372036854775807"] {
        let answer = ann.client.get(&format!("/chat-rooms/{unknown}")).await.expect(404);
        assert_eq!(answer["message"], "Chat room not found");
    }
    for not_positive in ["0", "-1"] {
        ann.client.get(&format!("/chat-rooms/{not_positive}")).await.expect(422);
    }
}

#[tokio::test]
async fn the_list_shows_the_last_active_room_first_with_its_last_message_and_unread_count() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let mut rooms = Vec::new();
    for other in 2..=5 {
        let room = ann.room_with(other).await;
        app.person(other).sends(room, &format!("hello from {other}")).await;
        rooms.push(room);
    }
    app.person(2).sends(rooms[0], "once more").await;

    let list = ann.client.get("/chat-rooms").await.expect(200);

    let ids = pluck(list.as_array().unwrap(), "id");
    assert_eq!(ids, [rooms[0], rooms[3], rooms[2], rooms[1]]);
    assert_eq!((&list[0]["last_message"]["content"], &list[0]["unread_count"]), (&json!("once more"), &json!(2)));
    let mut paged = Vec::new();
    for skip in 0..4 {
        let mut page = ann.client.get(&format!("/chat-rooms?skip={skip}&limit=1")).await.expect(200);
        paged.push(page[0]["id"].take());
    }
    assert_eq!(paged, ids, "pages do not overlap");
    assert_eq!(ann.client.get("/chat-rooms?skip=4").await.expect(200), json!([]));
    for invalid in ["limit=0", "limit=101", "skip=-1", "limit=x"] {
        ann.client.get(&format!("/chat-rooms?{invalid}")).await.expect(422);
    }
}

#[tokio::test]
async fn simultaneous_requests_load_a_room_once() {
    const REQUESTS: usize = 100;
    let app = TestApp::start().await;
    let (_, _, room) = app.direct_room().await;
    let replica = app.replica().await;
    let ann = app.person_at(&replica, 1);
    // The first load waits until all requests have come.
    let mut locking = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    sqlx::raw_sql("LOCK TABLES chat_rooms WRITE").execute(&mut locking).await.unwrap();
    let mut watching = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let loads = async {
        let mut most = 0;
        for _ in 0..20 {
            let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%FROM chat_rooms room LEFT JOIN%'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watching).await.unwrap();
            most = most.max(waiting);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sqlx::raw_sql("UNLOCK TABLES").execute(&mut locking).await.unwrap();
        most
    };

    let (unread, loads) = tokio::join!(join_all((0..REQUESTS).map(|_| ann.unread(room))), loads);

    assert_eq!((unread.len(), loads), (REQUESTS, 1));
}

#[tokio::test]
async fn a_user_is_a_member_of_a_bounded_number_of_rooms() {
    let app = TestApp::start_with(&[("ROOMS_PER_USER", "2".into())]).await;
    let (ann, bob) = (app.person(1), app.person(2));
    let (direct, group) = (ann.room_with(2).await, ann.group_with(&[2, 3]).await);
    let fourth = app.person(4);
    let of_fourth = fourth.group_with(&[5, 6]).await;

    let refused = ann.client.get("/chat-rooms/check/3").await.expect(403);
    assert_eq!((&refused["error"], &refused["detail"]["error"]), (&json!("TOO_MANY_ROOMS"), &json!("TOO_MANY_ROOMS")));
    assert!(refused["message"].as_str().unwrap().ends_with("2 rooms: 1"), "{refused}");
    for others in [json!([1, 2, 3]), json!([3, 2])] {
        fourth.client.post("/chat-rooms", json!({"participant_ids": others})).await.expect(403);
    }
    assert_eq!(fourth.adds(of_fourth, &[1, 3]).await.expect(403)["error"], "TOO_MANY_ROOMS");
    assert_eq!(ann.room_with(2).await, direct, "an existing room is found");
    bob.removes(group, 2).await.expect(200);
    fourth.adds(of_fourth, &[2]).await.expect(200);
    // Other users cannot keep a user from direct rooms by filling the user's list.
    app.person(7).room_with(1).await;
}

#[tokio::test]
async fn one_creator_does_not_fill_the_rooms_of_another_user() {
    // A creator brings a user into ten groups at least.
    let app = TestApp::start_with(&[("ROOMS_PER_USER", "12".into())]).await;
    let (ann, victim) = (app.person(1), 2);
    for _ in 0..9 {
        ann.group_with(&[victim, 3]).await;
    }
    let group = ann.group_with(&[4, 5]).await;
    ann.adds(group, &[victim]).await.expect(200);

    let refused = ann.client.post("/chat-rooms", json!({"participant_ids": [victim, 6]})).await.expect(403);
    assert_eq!(refused["error"], "TOO_MANY_ROOMS");
    assert!(refused["message"].as_str().unwrap().ends_with("10 groups of the same creator: 2"), "{refused}");
    assert_eq!(ann.adds(ann.group_with(&[7, 8]).await, &[victim]).await.expect(403)["error"], "TOO_MANY_ROOMS");

    app.person(9).group_with(&[victim, 10]).await;
}

/// The groups of each creator in which each user is, from this source.
async fn group_counts(mysql: &mut MySqlConnection, source: &'static str) -> Vec<(i64, i64, i64)> {
    sqlx::query_as(source).fetch_all(mysql).await.unwrap()
}

#[tokio::test]
async fn the_counts_of_groups_follow_joins_and_leaves_and_are_made_from_the_memberships_of_an_earlier_version() {
    const COUNTED: &str =
        "SELECT user_id, creator_id, CAST(rooms AS SIGNED) FROM chat_room_group_counts WHERE rooms > 0 ORDER BY 1, 2";
    const MEMBERSHIPS: &str = "SELECT user_id, COALESCE(creator_id, 0), COUNT(*)
        FROM room_members JOIN chat_rooms room ON room.id = chat_room_id GROUP BY 1, 2 ORDER BY 1, 2";
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[2, 3]).await;
    ann.group_with(&[4, 3]).await;
    bob.group_with(&[1, 3]).await;
    ann.room_with(3).await;
    ann.adds(group, &[5, 4]).await.expect(200);
    ann.adds(group, &[4]).await.expect(200);
    ann.removes(group, 3).await.expect(200);
    bob.removes(group, 2).await.expect(200);
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let without_creator = "INSERT INTO chat_rooms (id) VALUES (4711);
        INSERT INTO room_members (chat_room_id, user_id) VALUES (4711, 7), (4711, 8)";
    sqlx::raw_sql(without_creator).execute(&mut mysql).await.unwrap();

    app.person(7).removes(4711, 7).await.expect(200);

    let memberships = group_counts(&mut mysql, MEMBERSHIPS).await;
    assert_eq!(memberships, [(1, 1, 2), (1, 2, 1), (2, 2, 1), (3, 1, 1), (3, 2, 1), (4, 1, 2), (5, 1, 1), (8, 0, 1)]);
    assert_eq!(group_counts(&mut mysql, COUNTED).await, memberships[..7]);
    sqlx::raw_sql("DROP TABLE chat_room_group_counts").execute(&mut mysql).await.unwrap();
    let migration = include_str!("../../migrations/0008_group_counts.sql");
    sqlx::raw_sql(migration).execute(&mut mysql).await.unwrap();
    assert_eq!(group_counts(&mut mysql, COUNTED).await, memberships);
}

#[tokio::test]
async fn groups_of_others_keep_nobody_from_own_rooms() {
    let app = TestApp::start_with(&[("ROOMS_PER_USER", "2".into())]).await;
    let ann = app.person(1);
    for stranger in [4, 5] {
        app.person(stranger).group_with(&[1, 9]).await;
    }
    let further = json!({"participant_ids": [1, 8]});
    assert_eq!(app.person(6).client.post("/chat-rooms", further).await.expect(403)["error"], "TOO_MANY_ROOMS");
    app.person(7).room_with(1).await;

    let group = ann.group_with(&[2, 3]).await;
    ann.room_with(2).await;

    ann.client.get("/chat-rooms/check/3").await.expect(403);
    // Of users who have room.
    let third = ann.client.post("/chat-rooms", json!({"participant_ids": [20, 21]})).await.expect(403);
    assert!(third["message"].as_str().unwrap().ends_with("2 rooms: 1"), "{third}");
    // A group that the user has left does not count.
    ann.removes(group, 1).await.expect(200);
    ann.room_with(3).await;
}
