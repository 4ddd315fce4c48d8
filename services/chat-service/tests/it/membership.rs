//! The log of membership changes: no change is passed over, whatever the order in which the changes become visible.

use std::collections::BTreeSet;
use std::time::Duration;

use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::{Server, Sse, eventually};

use crate::all_rooms::{new_messages, subscribe};
use crate::app::{TestApp, mongo_database};
use crate::writer::hold;

/// Inserts records of changes in a room that have their system message: each ends the membership of this user.
async fn insert_leaves(mysql: &mut MySqlConnection, room: i64, user: i64, number: i64) {
    let row = format!("({room}, 'left', 1, '[{user}]', 1, 'aaaaaaaaaaaaaaaaaaaaaaaa', 1, NOW(6) - INTERVAL 1 MINUTE)");
    let rows = vec![row; number as usize].join(", ");
    let columns = "room_id, kind, by_id, user_ids, version, message_id, position, created_at";
    let insert = format!("INSERT INTO chat_room_changes ({columns}) VALUES {rows}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(mysql).await.unwrap();
}

/// Makes the store refuse the messages that announce changes, or accept them again.
async fn refuse_system_messages(mongo: &Database, refuse: bool) {
    let rule = if refuse {
        doc! {"message_type": {"$ne": "system"}}
    } else {
        Document::new()
    };
    mongo.run_command(doc! {"collMod": "messages", "validator": rule}).await.unwrap();
}

#[tokio::test]
async fn who_sees_an_addition_at_another_replica_reads_the_new_members() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&[2, 4]).await;
    let replica = app.replica().await;
    let bob = app.person_at(&replica, 2);
    let mut stream = bob.subscribes(group, None).await;
    for (added, members) in [(5, 4), (6, 5), (7, 6)] {
        let room = format!("/chat-rooms/{group}");
        let before = bob.client.get(&room).await.expect(200);
        assert_eq!(before["participants"].as_array().unwrap().len(), members - 1);
        ann.adds(group, &[added]).await.expect(200);
        stream.next_named("new_message").await;

        let after = bob.client.get(&room).await.expect(200);

        assert_eq!(after["participants"].as_array().unwrap().len(), members);
    }
}

#[tokio::test]
async fn a_leave_after_a_join_that_waits_for_its_message_ends_the_membership() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[4, 5]).await;
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let mongo = mongo_database(&app.space).await;

    refuse_system_messages(&mongo, true).await;
    ann.adds(group, &[2]).await.expect(200);
    ann.removes(group, 2).await.expect(200);
    refuse_system_messages(&mongo, false).await;
    eventually("both changes are announced", async || (ann.messages(group).await.len() == 2).then_some(())).await;
    while of_bob.next().await.name != "chat_room_left" {}
    ann.sends(group, "secret").await;

    assert!(of_bob.quiet_for(Duration::from_millis(2_500)).await, "nothing of the room follows");
}

#[tokio::test]
async fn a_join_that_waits_for_its_message_is_not_passed_over_by_a_later_page_of_changes() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.person(1), app.person(2), app.person(3));
    let (group, other) = (ann.group_with(&[4, 5]).await, ann.group_with(&[3, 4]).await);
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let (mut of_eve, _) = subscribe(&eve, None).await;
    let mongo = mongo_database(&app.space).await;

    refuse_system_messages(&mongo, true).await;
    ann.adds(group, &[2]).await.expect(200);
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    // More than a page of 1,000.
    insert_leaves(&mut mysql, other, 9, 1_500).await;
    insert_leaves(&mut mysql, other, eve.id, 1).await;
    assert_eq!(of_eve.next().await.name, "chat_room_left", "the replica has read all pages");
    refuse_system_messages(&mongo, false).await;

    assert_eq!(new_messages(&mut of_bob, 1).await.0, [(group, "person_1 added person_2".to_owned())]);
}

#[tokio::test]
async fn every_join_is_told_however_many_wait_for_their_messages() {
    // More than one look-up of 100.
    const GROUPS: usize = 250;
    let app = TestApp::start().await;
    let bob = app.person(2);
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let mongo = mongo_database(&app.space).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();

    refuse_system_messages(&mongo, true).await;
    let mut groups = BTreeSet::new();
    for _ in 0..GROUPS {
        groups.insert(insert_join(&mut mysql, bob.id).await);
    }
    // A later page of changes is read, so the replica has read all of the joins.
    let other = bob.group_with(&[4, 5]).await;
    assert_eq!(of_bob.next_named("chat_room_created").await.data["room_id"], other);
    refuse_system_messages(&mongo, false).await;

    let (messages, _) = new_messages(&mut of_bob, GROUPS).await;
    assert!(messages.iter().all(|(_, content)| content == "somebody joined"), "{messages:?}");
    assert_eq!(messages.into_iter().map(|(room, _)| room).collect::<BTreeSet<_>>(), groups);
}

/// Inserts a group and the join of a user, a minute ago, that no replica has announced. Returns the group.
async fn insert_join(mysql: &mut MySqlConnection, user: i64) -> i64 {
    let mut tx = mysql.begin().await.unwrap();
    let mut insert = async |statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap().last_insert_id()
    };
    let group = insert("INSERT INTO chat_rooms (name, creator_id) VALUES ('group', 1)".to_owned()).await;
    let columns = "room_id, kind, by_id, user_ids, version, message_id, content, created_at";
    let message = ObjectId::new().to_hex();
    let record = insert(format!(
        "INSERT INTO chat_room_changes ({columns})
         VALUES ({group}, 'added', 1, '[{user}]', 1, '{message}', 'somebody joined', NOW(6) - INTERVAL 1 MINUTE)"
    ))
    .await;
    let columns = "chat_room_id, user_id, joined_by";
    insert(format!("INSERT INTO room_members ({columns}) VALUES ({group}, {user}, {record})")).await;
    tx.commit().await.unwrap();
    group as i64
}

/// Adds a user to a group while no message can announce it. Returns the group, a replica that starts after the join, and the user's
/// stream there.
async fn unannounced_join(app: &TestApp, mongo: &Database) -> (i64, Server, Sse) {
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[4, 5]).await;
    refuse_system_messages(mongo, true).await;
    ann.adds(group, &[bob.id]).await.expect(200);
    let replica = app.replica().await;
    let (of_bob, _) = subscribe(&app.person_at(&replica, bob.id), None).await;
    (group, replica, of_bob)
}

#[tokio::test]
async fn a_stream_of_a_replica_that_starts_is_told_of_a_join_that_waits_for_its_message() {
    let app = TestApp::start().await;
    let mongo = mongo_database(&app.space).await;
    let (group, _replica, mut of_bob) = unannounced_join(&app, &mongo).await;

    refuse_system_messages(&mongo, false).await;

    assert_eq!(new_messages(&mut of_bob, 1).await.0, [(group, "person_1 added person_2".to_owned())]);
}

#[tokio::test]
async fn a_stream_that_opens_is_told_of_an_old_join_whose_message_is_lost() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[4, 5]).await;
    ann.adds(group, &[bob.id]).await.expect(200);
    let mongo = mongo_database(&app.space).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    refuse_system_messages(&mongo, true).await;
    lose_announcements(&mongo, &mut mysql, group).await;
    let (mut of_bob, _) = subscribe(&bob, None).await;

    refuse_system_messages(&mongo, false).await;

    assert_eq!(new_messages(&mut of_bob, 1).await.0, [(group, "person_1 added person_2".to_owned())]);
}

/// Puts a room into the state after the restore of a MongoDB that does not have the messages of its joins.
async fn lose_announcements(mongo: &Database, mysql: &mut MySqlConnection, room: i64) {
    mongo.collection::<Document>("messages").delete_many(doc! {"room_id": room}).await.unwrap();
    for lose in [
        "UPDATE chat_room_changes SET position = NULL WHERE room_id = ? AND position > 0",
        "UPDATE room_members SET joined_position = NULL WHERE chat_room_id = ? AND joined_by IS NOT NULL",
    ] {
        sqlx::query(lose).bind(room).execute(&mut *mysql).await.unwrap();
    }
}

#[tokio::test]
async fn a_removal_does_not_wait_for_the_message_of_a_join() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.person(1), app.person(2), app.person(3));
    let group = ann.group_with(&[bob.id, 4]).await;
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let (mut of_eve, _) = subscribe(&eve, None).await;
    let mongo = mongo_database(&app.space).await;

    refuse_system_messages(&mongo, true).await;
    ann.adds(group, &[eve.id]).await.expect(200);
    ann.removes(group, bob.id).await.expect(200);
    assert_eq!(of_bob.next_named("chat_room_left").await.data["room_id"], group);
    ann.removes(group, eve.id).await.expect(200);
    assert_eq!(of_eve.next_named("chat_room_left").await.data["room_id"], group);
    refuse_system_messages(&mongo, false).await;

    // The messages of all three changes.
    eventually("the changes are announced", async || (ann.messages(group).await.len() == 3).then_some(())).await;
    ann.sends(group, "secret").await;
    assert!(of_eve.quiet_for(Duration::from_millis(2_500)).await, "the join that has ended is not told");
    assert!(of_bob.quiet_for(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_join_that_ends_before_its_message_is_not_told_to_a_stream_that_was_opened_in_between() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let mongo = mongo_database(&app.space).await;
    let (group, _replica, mut of_bob) = unannounced_join(&app, &mongo).await;
    ann.removes(group, 2).await.expect(200);
    assert_eq!(of_bob.next_named("chat_room_left").await.data["room_id"], group);

    refuse_system_messages(&mongo, false).await;
    eventually("the changes are announced", async || (ann.messages(group).await.len() == 2).then_some(())).await;
    ann.sends(group, "secret").await;

    assert!(of_bob.quiet_for(Duration::from_millis(2_500)).await);
}

#[tokio::test]
async fn a_change_that_commits_after_a_later_one_is_told_although_the_replica_has_just_started() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[2, 3]).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let mut slow = mysql.begin().await.unwrap();
    insert_leaves(&mut slow, group, bob.id, 1).await;
    ann.group_with(&[4, 5]).await;
    let replica = app.replica().await;
    let (mut stream, _) = subscribe(&app.person_at(&replica, bob.id), None).await;

    slow.commit().await.unwrap();

    assert_eq!(stream.next().await.name, "chat_room_left");
}

/// Inserts a record of a change an hour ago that no replica has announced.
async fn insert_unannounced(mysql: &mut MySqlConnection, room: i64, user: i64) {
    let insert = format!(
        "INSERT INTO chat_room_changes (room_id, kind, by_id, user_ids, version, message_id, content, created_at)
         VALUES ({room}, 'left', 1, '[{user}]', 1, '{}', 'somebody left', NOW(6) - INTERVAL 1 HOUR)",
        ObjectId::new().to_hex()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(mysql).await.unwrap();
}

#[tokio::test]
async fn a_change_that_commits_long_after_a_later_one_is_told() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.person(1), app.person(2), app.person(3));
    let (group, other) = (ann.group_with(&[2, 4]).await, ann.group_with(&[3, 4]).await);
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let (mut of_eve, _) = subscribe(&eve, None).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let mut later = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let mut frozen = mysql.begin().await.unwrap();
    insert_leaves(&mut frozen, group, bob.id, 1).await;
    // Two reads of the log, in both of which all records that are visible are old.
    for _ in 0..2 {
        insert_leaves(&mut later, other, eve.id, 1).await;
        assert_eq!(of_eve.next_named("chat_room_left").await.data["room_id"], other);
    }

    frozen.commit().await.unwrap();

    assert_eq!(of_bob.next_named("chat_room_left").await.data["room_id"], group);
}

#[tokio::test]
async fn a_late_announcement_does_not_move_the_room_down() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&[2, 3]).await;
    let sent = ann.sends(group, "hello").await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    insert_unannounced(&mut mysql, group, 9).await;

    eventually("the change is announced", async || (ann.messages(group).await.len() == 2).then_some(())).await;

    assert_eq!(ann.rooms().await[0]["updated_at"], sent["created_at"]);
}

#[tokio::test]
async fn a_stream_that_opens_before_a_join_is_announced_has_nothing_from_before_it() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let held = ann.group_with(&[3, 4]).await;
    ann.sends(held, "before the join").await;
    let (_, cursor) = subscribe(&bob, None).await;
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let mut other_writer = hold(&heads, held).await;
    let added = async { ann.adds(held, &[bob.id]).await.expect(200) };
    let told = async {
        eventually("the membership is in MySQL", async || {
            let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
            let count = sqlx::query_scalar("SELECT COUNT(*) FROM room_members WHERE chat_room_id = ? AND user_id = ?");
            let members: i64 = count.bind(held).bind(bob.id).fetch_one(&mut mysql).await.unwrap();
            (members == 1).then_some(())
        })
        .await;
        let (resumed, _) = subscribe(&bob, Some(&cursor)).await;
        other_writer.abort_transaction().await.unwrap();
        resumed
    };
    let (_, mut resumed) = tokio::join!(added, told);

    ann.sends(held, "after the join").await;
    let (messages, _) = new_messages(&mut resumed, 2).await;
    let contents: Vec<&str> = messages.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(contents, ["person_1 added person_2", "after the join"]);
}

#[tokio::test]
async fn a_room_that_cannot_be_written_does_not_delay_the_changes_of_others() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let ann_elsewhere = app.person_at(&replica, ann.id);
    let (held, group) = (ann.group_with(&[3, 4]).await, ann.group_with(&[2, 4]).await);
    ann.sends(held, "hello").await;
    let (mut of_bob, _) = subscribe(&bob, None).await;
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let mut other_writer = hold(&heads, held).await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    insert_unannounced(&mut mysql, held, 9).await;
    let path = format!("/messages/{held}");
    let blocked = ann.client.post(&path, json!({"content": "blocked"}));
    let told = async {
        // Its event wakes the replica of the stream, whose announcement in the other room then waits for the head.
        ann_elsewhere.removes(group, 4).await.expect(200);
        ann_elsewhere.removes(group, bob.id).await.expect(200);
        of_bob.next_named("chat_room_left").await
    };

    tokio::select! {
        biased;
        left = told => assert_eq!(left.data["room_id"], group),
        answer = blocked => panic!("the other room's writes have ended first: {answer:?}"),
    }
    other_writer.abort_transaction().await.unwrap();
}
