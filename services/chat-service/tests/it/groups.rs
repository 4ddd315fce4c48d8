//! Groups: creation, members, and system messages.

use std::time::{Duration, Instant};

use common::events::user::UserProfileUpdated;
use common::id::UserId;
use futures_util::future::join_all;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::{Events, SLACK, eventually};

use crate::app::TestApp;
use crate::fakes::{UNKNOWN_USER, UNLISTED_USER};
use crate::person::{message_path, pluck};

fn participants(room: &Value) -> Vec<Value> {
    pluck(room["participants"].as_array().unwrap(), "id")
}

/// The content and the acting user of each system message.
fn system_messages(messages: &[Value]) -> Vec<(&str, i64)> {
    let of_the_system = messages.iter().filter(|message| message["message_type"] == "system");
    of_the_system.map(|m| (m["content"].as_str().unwrap(), m["user_id"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_room_of_three_users_is_a_group_that_all_of_them_see() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let ann = app.person(1);

    let body = json!({"name": "  우리 팀  ", "participant_ids": [2, 3, 2, 1]});
    let group = ann.client.post("/chat-rooms", body).await.expect(201);

    assert_json_snapshot!(group, {".id" => "[id]", ".created_at" => "[time]", ".updated_at" => "[time]"}, @r#"
    {
      "created_at": "[time]",
      "creator_id": 1,
      "id": "[id]",
      "last_message": null,
      "member_count": 3,
      "muted": false,
      "name": "우리 팀",
      "participants": [
        {
          "id": 1,
          "username": "person_1"
        },
        {
          "id": 2,
          "username": "person_2"
        },
        {
          "id": 3,
          "username": "person_3"
        }
      ],
      "pinned": false,
      "room_type": "group",
      "unread_count": 0,
      "updated_at": "[time]",
      "user_1_id": null,
      "user_2_id": null
    }
    "#);
    let room = group["id"].as_i64().unwrap();
    let sent = ann.sends(room, "hello").await;
    assert_eq!((&sent["room_type"], &sent["seq"]), (&json!("group"), &json!(1)));
    for other in [2, 3] {
        let list = app.person(other).rooms().await;
        assert_eq!((&list[0]["id"], &list[0]["unread_count"]), (&json!(room), &json!(1)));
        assert_eq!(participants(&list[0])[0], other, "the caller comes first");
        assert_eq!(participants(&list[0]).len(), 3);
    }
    let created = Events::of(&app.space.topics().chat_events).expect("ChatRoomCreated", 1).await;
    assert_json_snapshot!(
        created[0],
        {".event_id" => "[uuid]", ".room_id" => "[id]", ".timestamp" => "[time]", ".version" => "[version]"},
        @r#"
        {
          "__event_type__": "ChatRoomCreated",
          "creator_id": 1,
          "event_id": "[uuid]",
          "event_type": "ChatRoomCreated",
          "participant_ids": [
            1,
            2,
            3
          ],
          "room_id": "[id]",
          "room_type": "group",
          "schema_version": 1,
          "timestamp": "[time]",
          "version": "[version]"
        }
        "#
    );
}

#[tokio::test]
async fn a_room_with_one_other_user_is_their_direct_room() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let open = async || ann.client.post("/chat-rooms", json!({"name": "x", "participant_ids": [2, 1, "2"]})).await;

    let room = open().await.expect(201);

    assert_eq!((&room["room_type"], &room["name"]), (&json!("direct"), &json!(null)));
    assert_eq!(open().await.expect(200)["id"], room["id"]);
    assert_eq!(ann.room_with(2).await, room["id"].as_i64().unwrap());
}

#[tokio::test]
async fn a_room_needs_other_existing_users() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let open = async |ids: Value| ann.client.post("/chat-rooms", json!({"participant_ids": ids})).await;

    for without_others in [json!([]), json!([1]), json!([1, 1])] {
        open(without_others).await.expect(422);
    }
    open(json!([UNKNOWN_USER])).await.expect(404);
    open(json!([2, UNKNOWN_USER])).await.expect(404);
    for invalid in [json!("x"), json!([0]), json!(["x"]), json!(null)] {
        open(invalid).await.expect(422);
    }
    open((2..=501).collect()).await.expect(422);
    let body = json!({"name": "가".repeat(101), "participant_ids": [2, 3]});
    ann.client.post("/chat-rooms", body).await.expect(422);
    app.stop_user_service();
    let answer = open(json!([4, 5])).await;
    assert!(answer.header("retry-after").is_some());
    answer.expect(503);
    assert_eq!(ann.client.get("/chat-rooms").await.expect(200), json!([]));
}

#[tokio::test]
async fn the_creator_adds_and_removes_members_and_every_member_may_leave() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let [ann, bob, eve, joe] = [1, 2, 3, 4].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    ann.sends(room, "before").await;

    bob.adds(room, &[4]).await.expect(403);
    joe.adds(room, &[4]).await.expect(403);
    let group = ann.adds(room, &[4, 2, 4]).await.expect(200);
    assert_eq!(participants(&group), [1, 2, 3, 4]);
    assert_eq!(group["member_count"], 4);
    assert_eq!(joe.messages(room).await[0]["content"], "before", "new members see the history");
    let unchanged = ann.adds(room, &[2, 4]).await.expect(200);
    assert_eq!(participants(&unchanged), participants(&group));
    assert_eq!(unchanged["last_message"], group["last_message"]);
    bob.removes(room, 4).await.expect(403);
    assert_eq!(participants(&ann.removes(room, 4).await.expect(200)), [1, 2, 3]);
    assert!(bob.removes(room, 2).await.expect(200)["message"].is_string());
    ann.removes(room, 2).await.expect(404);
    bob.removes(room, 2).await.expect(403);
    assert!(ann.removes(room, 1).await.expect(200)["message"].is_string());
    ann.adds(room, &[2]).await.expect(403);

    let messages = eve.messages(room).await;
    assert_eq!(
        system_messages(&messages),
        [("person_1 added person_4", 1), ("person_1 removed person_4", 1), ("person_2 left", 2), ("person_1 left", 1)]
    );
    assert_eq!(pluck(&messages, "seq"), [1, 2, 3, 4, 5]);
    let events = Events::of(&app.space.topics().chat_events);
    let added = events.expect("MemberAdded", 1).await;
    assert_eq!((&added[0]["user_id"], &added[0]["by"]), (&json!(4), &json!(1)));
    let left = events.expect("MemberLeft", 3).await;
    assert_eq!(pluck(&left, "user_id"), [4, 2, 1]);
    assert_eq!(pluck(&left, "by"), [1, 2, 1]);
    let published = Events::of(&app.space.topics().message_events).expect("MessageSent", 5).await;
    assert_eq!(published.iter().filter(|event| event["message_type"] == "system").count(), 4);
}

#[tokio::test]
async fn unknown_members_and_direct_rooms_are_refused() {
    let app = TestApp::start().await;
    let (ann, _, direct) = app.direct_room().await;
    let group = ann.group_with(&[2, 3]).await;

    ann.adds(direct, &[3]).await.expect(422);
    ann.removes(direct, 2).await.expect(422);
    ann.removes(direct, 1).await.expect(422);
    ann.adds(group, &[4, UNKNOWN_USER]).await.expect(404);
    ann.removes(group, 4).await.expect(404);
    ann.adds(999_999, &[4]).await.expect(404);
    ann.removes(999_999, 4).await.expect(404);
    ann.adds(group, &(4..=501).collect::<Vec<_>>()).await.expect(422);
    ann.client.post(&format!("/chat-rooms/{group}/members"), json!({"user_ids": 4})).await.expect(422);
    ann.client.delete(&format!("/chat-rooms/{group}/members/x")).await.expect(422);
    app.person(9).adds(group, &[9]).await.expect(403);
    app.person(9).removes(group, 9).await.expect(403);
    assert_eq!(ann.messages(group).await.len(), 0, "a refused request leaves no message");
}

#[tokio::test]
async fn a_system_message_cannot_be_changed_and_is_never_unread() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let room = ann.group_with(&[2, 3]).await;
    ann.adds(room, &[4]).await.expect(200);
    let message = ann.messages(room).await.remove(0);
    assert_eq!((&message["message_type"], &message["is_read"]), (&json!("system"), &json!(null)));
    let path = message_path(&message);

    ann.client.put(&path, json!({"content": "mine"})).await.expect(403);
    ann.client.delete(&path).await.expect(403);
    ann.client.put(&format!("{path}/reactions/👍"), json!({})).await.expect(403);
    let forged = json!({"content": "person_1 left", "message_type": "system"});
    assert_eq!(bob.client.post(&format!("/messages/{room}"), forged).await.expect(400)["error"], "INVALID_INPUT");
    assert_eq!((bob.unread(room).await, app.person(4).unread(room).await), (0, 0));
    assert_eq!(bob.reads(room, &[message]).await["read_count"], 0);
}

#[tokio::test]
async fn the_end_of_a_membership_ends_access_and_streams_on_every_replica() {
    let app = TestApp::start().await;
    let [ann, bob] = [1, 2].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, 2);
    let mut local = bob.subscribes(room, None).await;
    let mut remote = bob_at_replica.subscribes(room, None).await;
    bob_at_replica.messages(room).await;

    // The topics do not exist, so the replica receives no event.
    ann.removes(room, 2).await.expect(200);
    let removed = Instant::now();
    bob.client.get(&format!("/messages/{room}")).await.expect(403);
    bob.tries_to_send(room, "?").await.expect(403);
    while local.try_next().await.is_some() {}
    assert!(removed.elapsed() < SLACK * Duration::from_secs(1), "{:?}", removed.elapsed());
    eventually("the access ends on the replica", || async {
        (bob_at_replica.client.get(&format!("/messages/{room}")).await.status == 403).then_some(())
    })
    .await;
    while remote.try_next().await.is_some() {}
    assert!(removed.elapsed() < SLACK * Duration::from_secs(5), "{:?}", removed.elapsed());
    let refused = bob.client.get(&format!("/messages/stream/{room}")).await.expect(403);
    assert_eq!(refused["message"], "Access denied to this chat room");
    assert!(bob.rooms().await.is_empty());
}

#[tokio::test]
async fn a_user_who_joins_has_nothing_unread_and_has_read_nothing() {
    let app = TestApp::start().await;
    let [ann, bob, joe] = [1, 2, 4].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    for n in 0..5 {
        ann.sends(room, &n.to_string()).await;
    }
    bob.reads_all(room).await;
    let readers = async |n: usize| ann.messages(room).await[n]["read_by"].clone();

    ann.adds(room, &[4]).await.expect(200);
    assert_eq!((joe.unread(room).await, joe.rooms().await[0]["unread_count"].clone()), (0, json!(0)));
    assert!(pluck(&joe.messages(room).await[..5], "is_read").iter().all(|read| *read == true));
    assert_eq!(joe.reads_all(room).await["read_count"], 0);
    ann.sends(room, "new").await;
    assert_eq!((joe.unread(room).await, bob.unread(room).await), (1, 1));
    assert_eq!(joe.reads_all(room).await["read_count"], 1);
    assert_eq!(
        (readers(4).await, readers(6).await),
        (json!([2]), json!([4])),
        "joe has seen no message before the join"
    );

    ann.removes(room, 2).await.expect(200);
    ann.sends(room, "without bob").await;
    ann.adds(room, &[2]).await.expect(200);
    assert_eq!(bob.unread(room).await, 0, "neither the old nor the missed message is unread");
    ann.sends(room, "with bob").await;
    assert_eq!(bob.reads_all(room).await["read_count"], 1);
    assert_eq!((readers(4).await, readers(8).await, readers(10).await), (json!([2]), json!([]), json!([2])));
}

/// Moves the leaves of a group into the past.
async fn age_leaves(app: &TestApp, hours: i64) {
    let mut connection = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let age = sqlx::query("UPDATE chat_room_leavers SET left_at = left_at - INTERVAL ? HOUR").bind(hours);
    age.execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_user_who_left_a_group_is_not_added_again_for_30_days() {
    let app = TestApp::start().await;
    let [ann, bob] = [1, 2].map(|id| app.person(id));
    let room = ann.group_with(&[2, 3]).await;
    bob.removes(room, 2).await.expect(200);

    for users in [&[2][..], &[4, 2]] {
        let refused = ann.adds(room, users).await.expect(403);
        assert_eq!(refused["error"], "LEFT_GROUP");
        assert_eq!(refused["message"], "A user who left the group cannot be added again for 30 days: 2");
    }
    assert_eq!(participants(&ann.adds(room, &[3, 4]).await.expect(200)), [1, 3, 4]);
    assert!(bob.rooms().await.is_empty());
    age_leaves(&app, 30 * 24 - 1).await;
    ann.adds(room, &[2]).await.expect(403);
    age_leaves(&app, 2).await;
    assert_eq!(participants(&ann.adds(room, &[2]).await.expect(200)), [1, 3, 4, 2]);
    bob.removes(room, 2).await.expect(200);
    ann.adds(room, &[2]).await.expect(403);
}

#[tokio::test]
async fn leaves_are_deleted_when_their_period_is_over() {
    let app = TestApp::start().await;
    let room = app.person(1).group_with(&[2, 3]).await;
    app.person(2).removes(room, 2).await.expect(200);
    // More than the 1,000 rows that one statement deletes.
    let others: Vec<String> = (10_000..12_500).map(|user| format!("({room}, {user}, UTC_TIMESTAMP(6))")).collect();
    let insert = format!("INSERT INTO chat_room_leavers (room_id, user_id, left_at) VALUES {}", others.join(", "));
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut mysql).await.unwrap();
    age_leaves(&app, 30 * 24 + 1).await;
    app.person(3).removes(room, 3).await.expect(200);

    let _replica = app.replica().await;

    eventually("only the later leave remains", || async {
        let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
        let leavers = sqlx::query_scalar("SELECT CAST(user_id AS SIGNED) FROM chat_room_leavers");
        let leavers: Vec<i64> = leavers.fetch_all(&mut mysql).await.unwrap();
        (leavers == [3]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_user_whom_the_creator_removed_can_be_added_again() {
    let app = TestApp::start_with(&[("GROUP_LEAVE_DAYS", "365".to_owned())]).await;
    let ann = app.person(1);
    let room = ann.group_with(&[2, 3]).await;

    ann.removes(room, 2).await.expect(200);

    assert_eq!(participants(&ann.adds(room, &[2]).await.expect(200)), [1, 3, 2]);
}

#[tokio::test]
async fn members_whom_a_third_user_brought_together_write_across_a_block() {
    let app = TestApp::start().await;
    let [blocker, blocked] = [8, 9].map(|id| app.person(id));
    let group = app.person(3).group_with(&[8, 9]).await;
    let open = || async { blocker.client.get("/chat-rooms/check/9").await.status };
    eventually("the block is loaded", || async { (open().await == 403).then_some(()) }).await;

    blocked.sends(group, "hello").await;
    blocker.sends(group, "hello").await;
}

#[tokio::test]
async fn concurrent_additions_add_each_member_once() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let ann = app.person(1);
    let replica = app.replica().await;
    let ann_at_replica = app.person_at(&replica, 1);
    let room = ann.group_with(&[2, 3]).await;

    let callers = [&ann, &ann_at_replica].into_iter().cycle().take(10);
    let answers = join_all(callers.map(|caller| caller.adds(room, &[4, 5]))).await;

    answers.into_iter().for_each(|answer| drop(answer.expect(200)));
    let messages = ann.messages(room).await;
    assert_eq!(system_messages(&messages), [("person_1 added person_4 and person_5", 1)]);
    let added = Events::of(&app.space.topics().chat_events).expect("MemberAdded", 2).await;
    assert_eq!(added.len(), 2);
}

#[tokio::test]
async fn the_system_messages_of_a_killed_replica_are_sent_once_by_the_others() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let room = ann.group_with(&[2, 3]).await;
    ann.sends(room, "1").await;
    // A replica that is killed between its commit in MySQL and its write to MongoDB leaves such rows.
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    for (message_id, kind) in [("aaaaaaaaaaaaaaaaaaaaaaaa", "added"), ("bbbbbbbbbbbbbbbbbbbbbbbb", "left")] {
        let insert = sqlx::query(
            "INSERT INTO chat_room_changes (room_id, kind, by_id, by_name, user_ids, version, message_id, content)
             VALUES (?, ?, 1, 'person_1', '[4]', 1, ?, ?)",
        );
        let insert = insert.bind(room).bind(kind).bind(message_id).bind(format!("{kind} 4"));
        insert.execute(&mut mysql).await.unwrap();
    }
    let _replicas = [app.replica().await, app.replica().await];

    let messages = eventually("the system messages are sent", || async {
        let messages = ann.messages(room).await;
        (messages.len() >= 3).then_some(messages)
    })
    .await;

    assert_eq!(system_messages(&messages), [("added 4", 1), ("left 4", 1)]);
    eventually("the rows have their positions", || async {
        let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
        let pending = sqlx::query_scalar("SELECT COUNT(*) FROM chat_room_changes WHERE position IS NULL");
        let pending: i64 = pending.fetch_one(&mut mysql).await.unwrap();
        (pending == 0).then_some(())
    })
    .await;
    assert_eq!(ann.messages(room).await.len(), 3, "no replica sends a second message");
}

#[tokio::test]
async fn all_old_records_of_changes_are_pruned_at_once() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let room = ann.group_with(&[2, 3]).await;
    ann.adds(room, &[4]).await.expect(200);
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let many = "INSERT INTO chat_room_changes (room_id, kind, by_id, user_ids, version, position, created_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 900)
        SELECT ?, 'left', 1, '[9]', 1, 1, NOW(6) - INTERVAL 49 HOUR FROM n";
    for _ in 0..3 {
        sqlx::query(many).bind(room).execute(&mut mysql).await.unwrap();
    }

    let _replica = app.replica().await;

    eventually("only the records of the last days remain", || async {
        let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
        let left: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM chat_room_changes").fetch_one(&mut mysql).await.unwrap();
        (left == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_list_names_the_members_of_each_group() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let groups = join_all((0..20).map(|n| {
        let ann = ann.clone();
        async move { ann.group_with(&[100 + n, 200 + n]).await }
    }))
    .await;
    // The newest group gets the first message, so the list must not be in the order of the ids. Nor can it be in the
    // order of the times in MySQL, which are equal for all rooms that were active in one second.
    let mut by_activity = groups.clone();
    by_activity.sort_unstable_by(|a, b| b.cmp(a));
    for group in &by_activity {
        ann.sends(*group, "hello").await;
    }

    let list = ann.rooms().await;

    by_activity.reverse();
    assert_eq!(pluck(&list, "id"), by_activity);
    for room in &list {
        let n = groups.iter().position(|group| room["id"] == *group).unwrap() as i64;
        assert_eq!(participants(room), [1, 100 + n, 200 + n]);
    }
}

#[tokio::test]
async fn only_friends_bring_a_user_into_a_group_who_refuses_strangers() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let of_bob = bob.group_with(&[3, 4]).await;
    app.reserve(21);
    let group = json!({"participant_ids": [3, 21]});

    let refused = bob.client.post("/chat-rooms", group.clone()).await.expect(403);
    assert_eq!(refused["error"], "FRIENDS_ONLY");
    assert_eq!(refused["message"], "Only friends can bring these users into a group: 21");
    assert_eq!(bob.adds(of_bob, &[5, 21]).await.expect(403)["error"], "FRIENDS_ONLY");
    assert_eq!(bob.rooms().await.len(), 1);
    assert_eq!(participants(&bob.client.get(&format!("/chat-rooms/{of_bob}")).await.expect(200)), [2, 3, 4]);
    ann.client.post("/chat-rooms", group).await.expect(201);
    bob.room_with(21).await;
}

#[tokio::test]
async fn without_friend_service_only_groups_of_users_who_refuse_strangers_are_refused() {
    let app = TestApp::start().await;
    let unlisted = app.person(UNLISTED_USER);
    app.reserve(21);

    let answer = unlisted.client.post("/chat-rooms", json!({"participant_ids": [3, 21]})).await;
    assert!(answer.header("retry-after").is_some());
    answer.expect(503);
    unlisted.group_with(&[2, 3]).await;
}

#[tokio::test]
async fn a_change_of_a_profile_ends_the_cached_one_on_every_replica() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let replica = app.replica().await;
    let clients = [app.person(2), app.person_at(&replica, 2)];
    for bob in &clients {
        bob.group_with(&[3, 21]).await;
    }
    app.reserve(21);
    let changed = UserProfileUpdated { user_id: UserId(21), display_name: None, status_message: None };

    for bob in clients {
        eventually("the replica refuses", || async {
            // A replica misses the events of the time before it follows the topic.
            app.publish(&changed, 1).await;
            let answer = bob.client.post("/chat-rooms", json!({"participant_ids": [3, 21]})).await;
            (answer.status == 403).then_some(())
        })
        .await;
    }
}
