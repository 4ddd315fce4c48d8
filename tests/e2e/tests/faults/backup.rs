//! A backup under load, the loss of both stores, and the restore.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::{PASSWORD, Person, gateway};
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::eventually;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::history::SentMessage;
use crate::load::{Load, Room};
use crate::stack::{Stack, setting};
use crate::verification::{StoredRoom, stored_room};

const BEFORE: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(3);

/// The pause between two changes of members.
const PAUSE: Duration = Duration::from_millis(40);

/// A folder of backups, with the file of the passphrase beside them.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("bigtech-chat-backups-{}", uuid::Uuid::new_v4())));
        fs::create_dir(&folder.0).unwrap();
        fs::write(folder.passphrase("right"), "a passphrase of the test, long enough").unwrap();
        fs::write(folder.passphrase("wrong"), "another passphrase, long enough too").unwrap();
        folder
    }

    fn passphrase(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.txt"))
    }

    fn newest(&self) -> PathBuf {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.join("manifest.json.age").exists()).max().expect("a backup")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `cargo stack` with the stack of the tests.
async fn stack(command: &str, folder: &Path, passphrase: &Path, more: &[&str]) -> Output {
    let mut stack = Command::new(PathBuf::from(setting("STACK_PROGRAMS")).join("devstack"));
    stack.arg(command).arg(folder).arg("--test-stack").arg("--passphrase-file").arg(passphrase).args(more);
    stack.output().await.unwrap()
}

fn assert_succeeded(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn assert_refused(output: &Output, reason: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(reason), "{told}");
}

/// A group to which its creator adds a user and from which they remove the user, again and again.
struct Group {
    id: i64,
    creator: Person,
    guest: Person,
}

impl Group {
    async fn open() -> Self {
        let (creator, guest) = (Person::sign_up("eve").await, Person::sign_up("gus").await);
        let others = [Person::sign_up("fay").await.id, Person::sign_up("hal").await.id];
        let group = json!({"name": "group", "participant_ids": others});
        let group = creator.client.post("/api/chat-rooms", group).await.expect(201);
        Self { id: group["id"].as_i64().unwrap(), creator, guest }
    }

    /// Changes the members until `stop`. Returns the times at which the changes were acknowledged.
    async fn change_members(&self, stop: &CancellationToken) -> Vec<Instant> {
        let (members, guest) = (format!("/api/chat-rooms/{}/members", self.id), self.guest.id);
        let mut acknowledged = Vec::new();
        while !stop.is_cancelled() {
            let client = &self.creator.client;
            if acknowledged.len() % 2 == 0 {
                client.post(&members, json!({"user_ids": [guest]})).await.expect(200);
            } else {
                client.delete(&format!("{members}/{guest}")).await.expect(200);
            }
            acknowledged.push(Instant::now());
            tokio::time::sleep(PAUSE).await;
        }
        acknowledged
    }

    /// Every change of members until `at` is announced once, and the guest is a member if the last announced change says so.
    async fn verify(&self, acknowledged: &[Instant], at: Instant) -> usize {
        let before = acknowledged.iter().filter(|time| **time < at).count();
        // The last changes may be announced by the replica that starts.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let added = |message: &Value| message["content"].as_str().unwrap().contains(" added ");
        let mut page = self.creator.client.get(&format!("/api/messages/{}?limit=100", self.id)).await.expect(200);
        let total = page["total_count"].as_i64().unwrap() as usize;
        let newest = page["messages"].as_array_mut().unwrap().iter().rev().map(added).collect::<Vec<_>>();
        assert!((before..=acknowledged.len()).contains(&total), "{before} <= {total} <= {}", acknowledged.len());
        let expected: Vec<bool> = (0..newest.len()).map(|back| (total - back) % 2 == 1).collect();
        assert_eq!(newest, expected, "additions and removals alternate, the newest first");
        let rooms = self.guest.client.get("/api/chat-rooms?limit=100").await.expect(200);
        let is_member = rooms.as_array().unwrap().iter().any(|room| room["id"] == self.id);
        assert_eq!(is_member, newest[0], "the members are those of the log");
        total
    }
}

/// Deletes the data of both stores.
async fn wipe() {
    let mut mysql = MySqlConnection::connect(&setting("MYSQL_ADMIN_URL")).await.unwrap();
    for schema in ["bigtech_user", "bigtech_friend", "bigtech_chat"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {schema}"))).execute(&mut mysql).await.unwrap();
    }
    let mongodb = mongodb::Client::with_uri_str(setting("MONGO_URL")).await.unwrap();
    mongodb.database(&setting("MONGODB_DB_NAME")).drop().await.unwrap();
}

/// Every message that was acknowledged before the backup is in the room, in its state at the backup, and the parts of the room
/// agree with each other. Returns the number of messages.
fn verify_room(
    room: &Room,
    stored: &StoredRoom,
    before: &BTreeMap<String, SentMessage>,
    after: &BTreeMap<String, SentMessage>,
) -> usize {
    let id = room.id;
    for (message, sent) in before.iter().filter(|(_, sent)| sent.room == id) {
        let last = &after[message];
        match stored.listed.get(message) {
            None => assert!(last.deleted, "room {id}: {message} was acknowledged before the backup and is lost"),
            Some(content) => {
                assert!(!sent.deleted, "room {id}: {message} was deleted before the backup and is back");
                assert!([&sent.content, &last.content].contains(&content), "room {id}: {message} has lost an edit");
            }
        }
    }
    let logged = |name: &str| -> BTreeSet<&String> {
        let entries: Vec<_> =
            stored.log.iter().filter(|entry| entry.name == name).map(|entry| &entry.message).collect();
        let ids: BTreeSet<_> = entries.iter().copied().collect();
        assert_eq!(ids.len(), entries.len(), "room {id}: {name} is told twice of a message");
        ids
    };
    assert!(stored.log.iter().map(|entry| entry.position).eq(1..=stored.log.len() as i64), "room {id}: positions");
    let (new, deleted) = (logged("new_message"), logged("message_deleted"));
    assert!(new.iter().all(|message| after.contains_key(*message)), "room {id}: a message that nobody sent");
    assert!(new.difference(&deleted).copied().eq(stored.listed.keys()), "room {id}: log and messages");
    assert_eq!(stored.total, stored.listed.len() as i64, "room {id}: the count of the head");
    new.len()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "stops every service: cargo stack test --faults backup"]
async fn a_backup_under_load_brings_back_what_was_acknowledged_before_it() {
    let _stack = Stack::all_up().await;
    let (folder, group) = (Folder::new(), Group::open().await);
    let mut load = Load::start().await;
    let rooms = Arc::clone(&load.rooms);
    let reader = &rooms[0].people[1];
    let path = format!("/api/messages/stream/{}", rooms[0].id);
    let mut stream = reader.client.stream(&path, None).await;

    let stop = CancellationToken::new();
    let backup = async {
        tokio::time::sleep(BEFORE).await;
        let at = Instant::now();
        let (messages, newcomers) = {
            let history = load.recorder.history();
            (history.messages.clone(), history.newcomers.clone())
        };
        let written = stack("backup", &folder.0, &folder.passphrase("right"), &["--keep", "1"]).await;
        println!("  the backup took {:.1} s", at.elapsed().as_secs_f32());
        tokio::time::sleep(AFTER).await;
        stop.cancel();
        (at, messages, newcomers, written)
    };
    let ((at, before, newcomers, written), changes) = tokio::join!(backup, group.change_members(&stop));
    assert_succeeded(&written);
    load.stop().await;
    let last_id = stream.next_named("new_message").await.id;
    let (after, all_newcomers) = {
        let history = load.recorder.history();
        (history.messages.clone(), history.newcomers.clone())
    };
    assert!(before.len() < after.len() && newcomers.len() < all_newcomers.len(), "the load went on after the backup");

    let (backup, right) = (folder.newest(), folder.passphrase("right"));
    assert_refused(&stack("restore", &backup, &right, &[]).await, "--yes");
    assert_refused(&stack("restore", &backup, &folder.passphrase("wrong"), &["--yes"]).await, "passphrase");
    wipe().await;
    let began = Instant::now();
    assert_succeeded(&stack("restore", &backup, &right, &["--yes"]).await);
    println!("  the restore took {:.1} s", began.elapsed().as_secs_f32());

    let mut messages = 0;
    for room in rooms.iter() {
        messages += verify_room(room, &stored_room(room).await, &before, &after);
    }
    let announced = group.verify(&changes, at).await;
    println!(
        "  verified: {} messages acknowledged before the backup, {messages} in it, {} at the end of the load; \
         {announced} of {} changes of members; {} of {} new users",
        before.len(),
        after.len(),
        changes.len(),
        newcomers.len(),
        all_newcomers.len(),
    );

    let mut resumed = reader.client.stream(&path, Some(&last_id)).await;
    assert_eq!(resumed.next().await.name, "connected");
    assert_eq!(resumed.next().await.name, "resync", "an id of before the restore");
    let everyone = rooms.iter().flat_map(|room| &room.people).chain([&group.creator, &group.guest]);
    for person in everyone {
        let login = json!({"email": person.email, "password": PASSWORD});
        gateway().post("/api/auth/login/json", login).await.expect(200);
    }
    let host = &rooms[0].people[0];
    for newcomer in &newcomers {
        let room = host.client.get(&format!("/api/chat-rooms/check/{}", newcomer.id)).await.expect(200);
        assert_eq!(room["id"], newcomer.room, "the room of {}", newcomer.username);
    }

    // The ids of lost accounts and rooms are in tokens and clients, and are not assigned again.
    let (lost_id, lost_room) =
        (all_newcomers.iter().map(|one| one.id).max(), all_newcomers.iter().map(|one| one.room).max());
    let new = Person::sign_up("new").await;
    let room = new.room_with(host).await;
    assert!(Some(new.id) > lost_id && Some(room) > lost_room, "user {} and room {room} had their ids before", new.id);
    let sent = new.send_message(room, "after the restore").await;
    assert_eq!(sent["seq"], 1, "the room is empty");
    eventually("the new room is listed", async || {
        let rooms = host.client.get("/api/chat-rooms?limit=100").await.expect(200);
        rooms.as_array().unwrap().iter().any(|listed| listed["id"] == room).then_some(())
    })
    .await;
}
