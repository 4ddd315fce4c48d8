//! Groups: opened, joined, left, and what is told of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection;
use testkit::{Events, SLACK, eventually};

use crate::app::{NOBODY, TestApp};

fn ids(room: &Value) -> Vec<i64> {
    room["participants"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
}

fn system_messages(messages: &[Value]) -> Vec<(&str, i64)> {
    let of_the_system = messages.iter().filter(|message| message["message_type"] == "system");
    of_the_system.map(|m| (m["content"].as_str().unwrap(), m["user_id"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn two_or_more_others_make_a_group_that_all_of_them_see() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let ann = app.person(1);

    let body = json!({"name": "  우리 팀  ", "participant_ids": [2, 3, 2, 1]});
    let group = ann.client.post("/chat-rooms", body).await.expect(201);

    assert_eq!((&group["room_type"], &group["name"]), (&json!("group"), &json!("우리 팀")));
    assert_eq!((&group["user_1_id"], &group["user_2_id"]), (&json!(null), &json!(null)));
    assert_eq!((&group["member_count"], &group["unread_count"]), (&json!(3), &json!(0)));
    assert_eq!(group["creator_id"], json!(1));
    assert_eq!((ids(&group), &group["last_message"]), (vec![1, 2, 3], &json!(null)));
    let room = group["id"].as_i64().unwrap();
    let sent = ann.says(room, "hello").await;
    assert_eq!((&sent["room_type"], &sent["seq"]), (&json!("group"), &json!(1)));
    for other in [2, 3] {
        let list = app.person(other).client.get("/chat-rooms").await.expect(200);
        assert_eq!((&list[0]["id"], &list[0]["unread_count"]), (&json!(room), &json!(1)));
        assert_eq!(ids(&list[0])[0], other, "the caller first");
        assert_eq!(list[0]["participants"].as_array().unwrap().len(), 3);
    }
    let created = Events::of(&app.space.topics().chat_events).expect("ChatRoomCreated", 1).await;
    assert_eq!((&created[0]["room_type"], &created[0]["creator_id"]), (&json!("group"), &json!(1)));
    assert_eq!(created[0]["participant_ids"], json!([1, 2, 3]));
}

#[tokio::test]
async fn one_other_makes_the_direct_room_once() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let open = async || ann.client.post("/chat-rooms", json!({"name": "x", "participant_ids": [2, 1, "2"]})).await;

    let room = open().await.expect(201);

    assert_eq!((&room["room_type"], &room["name"]), (&json!("direct"), &json!(null)));
    assert_eq!(open().await.expect(200)["id"], room["id"]);
    assert_eq!(ann.room_with(2).await, room["id"].as_i64().unwrap());
}

#[tokio::test]
async fn a_room_with_nobody_or_with_people_who_are_not_there_is_not_opened() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let open = async |ids: Value| ann.client.post("/chat-rooms", json!({"participant_ids": ids})).await;

    for nobody in [json!([]), json!([1]), json!([1, 1])] {
        open(nobody).await.expect(422);
    }
    open(json!([NOBODY])).await.expect(404);
    open(json!([2, NOBODY])).await.expect(404);
    for unreadable in [json!("x"), json!([0]), json!(["x"]), json!(null)] {
        open(unreadable).await.expect(422);
    }
    open((2..=501).collect()).await.expect(422);
    let name = json!({"name": "가".repeat(101), "participant_ids": [2, 3]});
    ann.client.post("/chat-rooms", name).await.expect(422);
    app.hide_people();
    let answer = open(json!([4, 5])).await;
    assert!(answer.header("retry-after").is_some());
    answer.expect(503);
    assert_eq!(ann.client.get("/chat-rooms").await.expect(200), json!([]));
}

#[tokio::test]
async fn the_creator_adds_and_removes_and_anyone_leaves() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let [ann, bob, eve, joe] = [1, 2, 3, 4].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    ann.says(room, "before").await;

    bob.adds(room, &[4]).await.expect(403);
    joe.adds(room, &[4]).await.expect(403);
    let group = ann.adds(room, &[4, 2, 4]).await.expect(200);
    assert_eq!((ids(&group), &group["member_count"]), (vec![1, 2, 3, 4], &json!(4)));
    assert_eq!(joe.messages(room).await[0]["content"], "before", "new members see the history");
    let unchanged = ann.adds(room, &[2, 4]).await.expect(200);
    assert_eq!((ids(&unchanged), &unchanged["last_message"]), (ids(&group), &group["last_message"]));
    bob.removes(room, 4).await.expect(403);
    assert_eq!(ids(&ann.removes(room, 4).await.expect(200)), [1, 2, 3]);
    assert!(bob.removes(room, 2).await.expect(200)["message"].is_string());
    ann.removes(room, 2).await.expect(404);
    bob.removes(room, 2).await.expect(403);
    assert!(ann.removes(room, 1).await.expect(200)["message"].is_string());
    ann.adds(room, &[2]).await.expect(403);

    let messages = eve.messages(room).await;
    let said = ["person_1 added person_4", "person_1 removed person_4", "person_2 left", "person_1 left"];
    assert_eq!(system_messages(&messages), said.into_iter().zip([1, 1, 2, 1]).collect::<Vec<_>>());
    let positions: Vec<i64> = messages.iter().map(|message| message["seq"].as_i64().unwrap()).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5]);
    let events = Events::of(&app.space.topics().chat_events);
    let added = events.expect("MemberAdded", 1).await;
    assert_eq!((&added[0]["user_id"], &added[0]["by"]), (&json!(4), &json!(1)));
    let left = events.expect("MemberLeft", 3).await;
    let left: Vec<_> = left.iter().map(|e| (e["user_id"].as_i64().unwrap(), e["by"].as_i64().unwrap())).collect();
    assert_eq!(left, [(4, 1), (2, 2), (1, 1)]);
    let told = Events::of(&app.space.topics().message_events).expect("MessageSent", 5).await;
    assert_eq!(told.iter().filter(|event| event["message_type"] == "system").count(), 4);
}

#[tokio::test]
async fn members_that_are_not_there_and_rooms_that_are_no_groups_are_refused() {
    let app = TestApp::start().await;
    let (ann, _, direct) = app.two_in_a_room().await;
    let group = ann.group_with(&[2, 3]).await;

    ann.adds(direct, &[3]).await.expect(422);
    ann.removes(direct, 2).await.expect(422);
    ann.removes(direct, 1).await.expect(422);
    ann.adds(group, &[4, NOBODY]).await.expect(404);
    ann.removes(group, 4).await.expect(404);
    ann.adds(999_999, &[4]).await.expect(404);
    ann.removes(999_999, 4).await.expect(404);
    ann.adds(group, &(4..=501).collect::<Vec<_>>()).await.expect(422);
    ann.client.post(&format!("/chat-rooms/{group}/members"), json!({"user_ids": 4})).await.expect(422);
    ann.client.delete(&format!("/chat-rooms/{group}/members/x")).await.expect(422);
    app.person(9).adds(group, &[9]).await.expect(403);
    app.person(9).removes(group, 9).await.expect(403);
    assert_eq!(ann.messages(group).await.len(), 0, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn what_the_system_says_is_nobodys_and_never_unread() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let room = ann.group_with(&[2, 3]).await;
    ann.adds(room, &[4]).await.expect(200);
    let said = ann.messages(room).await.remove(0);
    assert_eq!((&said["message_type"], &said["is_read"]), (&json!("system"), &json!(null)));
    let path = format!("/messages/{}", said["id"].as_str().unwrap());

    ann.client.put(&path, json!({"content": "mine"})).await.expect(403);
    ann.client.delete(&path).await.expect(403);
    ann.client.put(&format!("{path}/reactions/👍"), json!({})).await.expect(403);
    let forged = json!({"content": "person_1 left", "message_type": "system"});
    assert_eq!(bob.client.post(&format!("/messages/{room}"), forged).await.expect(400)["error"], "INVALID_INPUT");
    assert_eq!((bob.unread(room).await, app.person(4).unread(room).await), (0, 0));
    let read = json!({"room_id": room, "message_ids": [said["id"]]});
    assert_eq!(bob.client.post("/messages/read", read).await.expect(200)["read_count"], 0);
}

#[tokio::test]
async fn the_end_of_a_membership_ends_access_and_stream_here_at_once_and_elsewhere_soon() {
    let app = TestApp::start().await;
    let [ann, bob] = [1, 2].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    let replica = app.replica().await;
    let elsewhere = app.person_at(&replica, 2);
    let path = format!("/messages/stream/{room}");
    let (mut here, mut there) = (bob.client.stream(&path, None).await, elsewhere.client.stream(&path, None).await);
    assert_eq!((here.next().await.name, there.next().await.name), ("connected".to_owned(), "connected".to_owned()));
    elsewhere.messages(room).await;

    // The topics do not exist, so no event tells of it.
    ann.removes(room, 2).await.expect(200);
    let removed = Instant::now();
    bob.client.get(&format!("/messages/{room}")).await.expect(403);
    bob.client.post(&format!("/messages/{room}"), json!({"content": "?"})).await.expect(403);
    while here.try_next().await.is_some() {}
    assert!(removed.elapsed() < SLACK * Duration::from_secs(1), "at once: {:?}", removed.elapsed());
    eventually("it ends elsewhere", || async {
        (elsewhere.client.get(&format!("/messages/{room}")).await.status == 403).then_some(())
    })
    .await;
    while there.try_next().await.is_some() {}
    assert!(removed.elapsed() < SLACK * Duration::from_secs(5), "{:?}", removed.elapsed());
    let stream = bob.client.get(&path).await;
    assert_eq!(stream.expect(403)["message"], "Access denied to this chat room");
    assert!(bob.client.get("/chat-rooms").await.expect(200).as_array().unwrap().is_empty());
}

#[tokio::test]
async fn blocks_concern_direct_rooms_alone() {
    let app = TestApp::start().await;
    let (blocker, blocked) = (app.person(8), app.person(9));
    let direct = blocker.room_with(9).await;
    eventually("the block is known", || async {
        (blocked.client.post(&format!("/messages/{direct}"), json!({"content": "?"})).await.status == 403).then_some(())
    })
    .await;

    let group = blocker.group_with(&[9, 3]).await;

    blocked.says(group, "hello").await;
    blocker.says(group, "hello").await;
    let typing = blocked.client.post(&format!("/messages/{direct}/typing"), json!({})).await;
    assert_eq!(typing.expect(403)["error"], "BLOCKED");
}

#[tokio::test]
async fn whoever_adds_at_once_adds_each_once() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let ann = app.person(1);
    let replica = app.replica().await;
    let ann_elsewhere = app.person_at(&replica, 1);
    let room = ann.group_with(&[2, 3]).await;

    let add = |n: usize| if n.is_multiple_of(2) { &ann } else { &ann_elsewhere };
    let answers = join_all((0..10).map(|n| add(n).adds(room, &[4, 5]))).await;

    answers.into_iter().for_each(|answer| drop(answer.expect(200)));
    let said = ann.messages(room).await;
    assert_eq!(system_messages(&said), [("person_1 added person_4 and person_5", 1)]);
    let added = Events::of(&app.space.topics().chat_events).expect("MemberAdded", 2).await;
    assert_eq!(added.len(), 2);
}

#[tokio::test]
async fn a_change_whose_maker_died_is_told_by_another_once() {
    let space = testkit::Space::new();
    let mysql_url = space.schema("chat").await;
    let app = TestApp::start_in(space, &mysql_url, &[]).await;
    let ann = app.person(1);
    let room = ann.group_with(&[2, 3]).await;
    ann.says(room, "1").await;
    // What a replica leaves behind that is killed between its commit and the message.
    let mut mysql = sqlx::MySqlConnection::connect(&mysql_url).await.unwrap();
    for (id, kind, user) in [("aaaaaaaaaaaaaaaaaaaaaaaa", "added", 4), ("bbbbbbbbbbbbbbbbbbbbbbbb", "left", 4)] {
        let left = sqlx::query(
            "INSERT INTO chat_room_changes (room_id, kind, by_id, by_name, user_ids, version, message_id, content)
             VALUES (?, ?, 1, 'person_1', ?, 1, ?, ?)",
        );
        let left = left.bind(room).bind(kind).bind(format!("[{user}]")).bind(id).bind(format!("{kind} {user}"));
        left.execute(&mut mysql).await.unwrap();
    }
    let _others = [app.replica().await, app.replica().await];

    let told = eventually("it is told", || async {
        let messages = ann.messages(room).await;
        (messages.len() >= 3).then_some(messages)
    })
    .await;

    assert_eq!(system_messages(&told), [("added 4", 1), ("left 4", 1)]);
    eventually("the change knows its place", || async {
        let mut mysql = sqlx::MySqlConnection::connect(&mysql_url).await.unwrap();
        let untold = sqlx::query_scalar("SELECT COUNT(*) FROM chat_room_changes WHERE position IS NULL");
        let untold: i64 = untold.fetch_one(&mut mysql).await.unwrap();
        (untold == 0).then_some(())
    })
    .await;
    assert_eq!(ann.messages(room).await.len(), 3, "and by nobody twice");
}

#[tokio::test]
async fn a_list_of_groups_names_the_members_of_each() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let groups = join_all((0..20).map(|n| {
        let ann = ann.clone();
        async move { ann.group_with(&[100 + n, 200 + n]).await }
    }))
    .await;
    // The newest room is spoken in first, so that neither the ids nor the times in MySQL, which are written together for
    // all rooms of a second, give the right order.
    let mut spoken = groups.clone();
    spoken.sort_unstable_by(|a, b| b.cmp(a));
    for group in &spoken {
        ann.says(*group, "hello").await;
    }

    let list = ann.client.get("/chat-rooms?limit=100").await.expect(200);

    let listed: Vec<i64> = list.as_array().unwrap().iter().map(|room| room["id"].as_i64().unwrap()).collect();
    let newest_first: Vec<i64> = spoken.into_iter().rev().collect();
    assert_eq!(listed, newest_first);
    for room in list.as_array().unwrap() {
        let n = groups.iter().position(|group| room["id"] == *group).unwrap() as i64;
        assert_eq!(ids(room), [1, 100 + n, 200 + n]);
    }
}
