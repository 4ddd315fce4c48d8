//! Restores of the store: a client never passes over what was written after a restore.

use std::collections::BTreeMap;

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::Database;
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::{Sse, eventually};
use tokio::process::Command;

use crate::all_rooms::{new_messages, subscribe};
use crate::app::{TestApp, mongo_database};
use crate::person::{Person, pluck};
use crate::process::BINARY;

type Dump = BTreeMap<String, Vec<Document>>;

async fn dump(database: &Database) -> Dump {
    let mut dump = Dump::new();
    for name in database.list_collection_names().await.unwrap() {
        let all = database.collection::<Document>(&name).find(doc! {}).await.unwrap();
        dump.insert(name, all.try_collect().await.unwrap());
    }
    dump
}

/// Replaces the contents of all collections. The indexes remain.
async fn restore(database: &Database, dump: Dump) {
    for (name, documents) in dump {
        let collection = database.collection::<Document>(&name);
        collection.delete_many(doc! {}).await.unwrap();
        for document in documents {
            // A beat of a running replica may have inserted the epoch again.
            let same = doc! {"_id": document.get("_id").unwrap()};
            collection.replace_one(same, document).upsert(true).await.unwrap();
        }
    }
}

async fn send_many(person: &Person, room: i64, messages: usize) {
    for n in 0..messages {
        person.sends(room, &n.to_string()).await;
    }
}

async fn read_to(stream: &mut Sse, position: i64) -> String {
    loop {
        let event = stream.next_named("new_message").await;
        if event.data["seq"] == position {
            return event.id;
        }
    }
}

/// Whether both streams answer their last id of before the restore by `resync`.
async fn assert_resync(bob: &Person, room: i64, position: &str, cursor: &str) {
    let mut in_room = bob.subscribes(room, Some(position)).await;
    assert_eq!(in_room.next().await.name, "resync");
    let mut in_all = bob.client.stream("/messages/stream", Some(cursor)).await;
    assert_eq!(in_all.next().await.name, "connected");
    assert_eq!(in_all.next().await.name, "resync");
}

/// Runs `epoch --new` with the settings of the service.
async fn begin_epoch(app: &TestApp) {
    let mut environment = app.space.env(&app.mysql_url);
    environment.extend(app.environment());
    let command = Command::new(BINARY).args(["epoch", "--new"]).env_clear().envs(environment).output().await.unwrap();
    assert!(command.status.success(), "{command:?}");
    assert_eq!(command.stdout.len(), 9, "the command shows the new epoch: {command:?}");
}

#[tokio::test]
async fn changes_of_members_that_a_restored_store_does_not_have_are_announced_again() {
    let app = TestApp::start().await;
    let (ann, carol) = (app.person(1), app.person(3));
    let group = ann.group_with(&[2, 4]).await;
    let database = mongo_database(&app.space).await;
    ann.adds(group, &[5]).await.expect(200);
    let before = dump(&database).await;
    send_many(&ann, group, 3).await;
    ann.adds(group, &[carol.id]).await.expect(200);
    ann.removes(group, 4).await.expect(200);
    app.server.stop().await;

    restore(&database, before).await;
    for lost in ["room_log", "messages"] {
        let later = if lost == "room_log" { "_id.at" } else { "seq" };
        database.collection::<Document>(lost).delete_many(doc! {later: {"$gt": 1}}).await.unwrap();
    }
    begin_epoch(&app).await;
    let replica = app.replica().await;
    let (ann, carol) = (app.person_at(&replica, ann.id), app.person_at(&replica, carol.id));

    eventually("all changes are announced", async || (ann.messages(group).await.len() == 3).then_some(())).await;
    ann.sends(group, "welcome").await;
    let told = ["added person_5", "added person_3", "removed person_4"].map(|change| format!("person_1 {change}"));
    let contents = pluck(&ann.messages(group).await, "content");
    assert_eq!(contents, [&told[..], &["welcome".to_owned()]].concat(), "each change is announced once");
    assert_eq!(carol.unread(group).await, 1, "what was sent after the join");
    let (mut of_carol, _) = subscribe(&carol, None).await;
    ann.sends(group, "again").await;
    assert_eq!(new_messages(&mut of_carol, 1).await.0, [(group, "again".to_owned())]);
}

#[tokio::test]
async fn changes_of_members_whose_messages_the_retention_has_removed_are_not_announced_again() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let ann = app.person(1);
    let group = ann.group_with(&[2, 4]).await;
    ann.adds(group, &[5]).await.expect(200);
    send_many(&ann, group, 1).await;
    let old = vec![doc! {"$set": {"created_at": {"$subtract": ["$created_at", 3 * 24 * 3_600_000_i64]}}}];
    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    messages.update_one(doc! {"seq": 1_i64}, old).await.unwrap();
    let settings = [&app.environment()[..], &[("HISTORY_RETENTION_DAYS", "2".to_owned())]].concat();
    let app = TestApp::start_in(app.space, app.mysql_url, &settings).await;
    let ann = app.person(1);
    eventually("the join is removed", async || (ann.messages(group).await.len() == 1).then_some(())).await;
    app.server.stop().await;

    begin_epoch(&app).await;

    let replica = app.replica().await;
    let ann = app.person_at(&replica, 1);
    ann.adds(group, &[6]).await.expect(200);
    let announced = async || ann.messages(group).await.into_iter().skip(1).collect::<Vec<_>>();
    eventually("the next change is announced", async || (!announced().await.is_empty()).then_some(())).await;
    assert_eq!(pluck(&announced().await, "content"), ["person_1 added person_6"]);
}

#[tokio::test]
async fn a_join_that_a_restored_store_lacks_and_no_record_announces_is_no_leave() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let group = ann.group_with(&[2, 3]).await;
    let database = mongo_database(&app.space).await;
    send_many(&ann, group, 3).await;
    let before = dump(&database).await;
    send_many(&ann, group, 3).await;
    ann.adds(group, &[4]).await.expect(200);
    app.server.stop().await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    sqlx::query("DELETE FROM chat_room_changes").execute(&mut mysql).await.unwrap();

    restore(&database, before).await;
    begin_epoch(&app).await;
    let replica = app.replica().await;
    let [ann, dan] = [1, 4].map(|id| app.person_at(&replica, id));
    let (_, cursor) = subscribe(&dan, None).await;

    let (mut stream, _) = subscribe(&dan, Some(&cursor)).await;
    ann.sends(group, "hello").await;
    let first = stream.next().await;
    assert_eq!((&*first.name, &first.data["content"]), ("new_message", &json!("hello")));
}

#[tokio::test]
async fn a_restored_schema_of_before_the_records_of_changes_gets_a_new_epoch() {
    let app = TestApp::start().await;
    app.server.stop().await;
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    sqlx::query("DROP TABLE chat_room_changes").execute(&mut mysql).await.unwrap();

    begin_epoch(&app).await;
}

#[tokio::test]
async fn an_id_of_before_a_restore_leads_to_resync_after_the_command() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let database = mongo_database(&app.space).await;
    let (mut in_room, mut in_all) =
        (bob.subscribes(room, None).await, bob.client.stream("/messages/stream", None).await);
    send_many(&ann, room, 30).await;
    let at_30 = dump(&database).await;
    send_many(&ann, room, 20).await;
    let (position, cursor) = (read_to(&mut in_room, 50).await, read_to(&mut in_all, 50).await);
    app.server.stop().await;

    restore(&database, at_30).await;
    begin_epoch(&app).await;
    let replica = app.replica().await;
    let (ann, bob) = (app.person_at(&replica, ann.id), app.person_at(&replica, bob.id));
    let (without_epoch, _) = cursor.rsplit_once('.').unwrap();
    let mut ahead = bob.client.stream("/messages/stream", Some(without_epoch)).await;
    assert_eq!(ahead.next().await.name, "connected");
    assert_eq!(ahead.next().await.name, "resync", "a bare cursor is compared with the heads");
    send_many(&ann, room, 30).await;

    assert_resync(&bob, room, &position, &cursor).await;
    let mut by_position = bob.subscribes(room, Some("50")).await;
    assert_eq!(by_position.next().await.position(), 51, "a bare position is compared with the head");
    let mut too_high = bob.subscribes(room, Some("61")).await;
    assert_eq!(too_high.next().await.name, "resync");
}

#[tokio::test]
async fn a_replica_that_finds_the_store_older_begins_an_epoch() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let database = mongo_database(&app.space).await;
    let (mut in_room, mut in_all) =
        (bob.subscribes(room, None).await, bob.client.stream("/messages/stream", None).await);
    let first = in_all.next().await.id;
    send_many(&ann, room, 30).await;
    let group = ann.group_with(&[4, 6]).await;
    let at_30 = dump(&database).await;
    ann.adds(group, &[5]).await.expect(200);
    send_many(&ann, room, 20).await;
    let (position, cursor) = (read_to(&mut in_room, 50).await, read_to(&mut in_all, 50).await);
    assert_eq!(bob.unread(room).await, 50);
    let page = bob.client.get(&format!("/messages/{room}")).await.expect(200);
    let beats = |state: &Document| state.get_i64("beats").unwrap();
    let at_dump = beats(&at_30["store_epoch"][0]);
    let store = database.collection::<Document>("store_epoch");
    eventually("the replica knows a later state than that of the dump", || async {
        (beats(&store.find_one(doc! {}).await.unwrap()?) > at_dump + 1).then_some(())
    })
    .await;

    restore(&database, at_30).await;

    for stream in [&mut in_room, &mut in_all] {
        assert!(stream.try_next().await.is_none(), "the streams end, so that their clients come back");
    }
    send_many(&bob, room, 20).await;
    assert_eq!(bob.unread(room).await, 30, "the head is as before, the count is not");
    let again = bob.client.get(&format!("/messages/{room}")).await.expect(200);
    let senders = pluck(again["messages"].as_array().unwrap(), "user_id");
    assert!(senders[30..].iter().all(|sender| *sender == bob.id), "neither are the messages: {senders:?}");
    send_many(&ann, room, 10).await;
    assert_resync(&bob, room, &position, &cursor).await;
    assert_resync(&bob, room, &position, &first).await;
    let mut after_page = bob.subscribes(room, page["last_event_id"].as_str()).await;
    assert_eq!(after_page.next().await.name, "resync");
    let mut fresh = bob.subscribes(room, None).await;
    ann.sends(room, "again").await;
    assert_eq!(fresh.next().await.position(), 61);
    eventually("the change of members that the store lacks is announced again", async || {
        (pluck(&ann.messages(group).await, "content") == ["person_1 added person_5"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_id_of_the_last_epoch_leads_to_resync_before_the_next_beat_of_the_replica() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut stream = bob.subscribes(room, None).await;
    send_many(&ann, room, 3).await;
    let id = read_to(&mut stream, 2).await;

    let epochs = mongo_database(&app.space).await.collection::<Document>("store_epoch");
    epochs.update_one(doc! {}, doc! {"$set": {"epoch": 7_i64}}).await.unwrap();

    let mut stream = bob.subscribes(room, Some(&id)).await;
    assert_eq!(stream.next().await.name, "resync");
}
