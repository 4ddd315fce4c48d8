//! Replicas of chat-service, which check the files too, and the object store are killed while members send files.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use e2e::Person;
use futures_util::future::join_all;
use mongodb::bson::{DateTime, Document, doc};
use platform::http::CallTls;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, SLACK, eventually};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::{NO_ANSWER, Operation, Recorder, Reply};
use crate::stack::{Stack, setting};

/// The time from a start to the next kill, in milliseconds.
const LIFETIME_MILLIS: std::ops::Range<u64> = 100..1_500;

/// The deadline for a file to be checked. The lease of a killed replica, of one minute, or the pause after some failed checks ends
/// first.
const CHECK_DEADLINE: Duration = Duration::from_secs(130);

/// The deadline for the sweep of all uploads: 50 in a second or two, most of them twice.
const SWEEP_DEADLINE: Duration = Duration::from_secs(100);

/// The pause between two looks at a file that is not checked.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// A larger file is stored in parts.
const WHOLE_BYTES: usize = 16 << 20;

const CLIENTS: usize = 6;

/// The pause between two files of one client, so that the files of a person stay within the quota.
const PAUSE: Duration = Duration::from_millis(100);

/// One of so many files is a picture, one has two parts, one upload is cancelled, and one message is deleted.
const PICTURE_EVERY: usize = 3;
const LARGE_EVERY: usize = 25;
const CANCEL_EVERY: usize = 7;
const DELETE_EVERY: usize = 4;

/// A PNG of 4 × 4 pixels.
const PICTURE: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x04\0\0\0\x04\x08\x02\0\0\0&\x93\t)\0\0\0\x10IDATx\x9cc8!'\x07G\x0c\xc4q\x00\
    \xb1c\x10A;Kc\x82\0\0\0\0IEND\xaeB`\x82";

/// A message that was acknowledged.
struct Sent {
    id: String,
    file: File,
    is_deleted: bool,
}

struct File {
    message_type: &'static str,
    file_type: &'static str,
    bytes: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn messages_have_their_files_and_files_their_messages_when_services_and_the_store_are_killed() {
    let stack = Stack::all_up().await;
    stack.require(&["object-store", "chat-service-2"]).await;
    let seed: u64 = rand::rng().random();
    println!("  seed {seed}");
    let orphans = orphans(&check_files().await);
    let people = [Person::sign_up("ann").await, Person::sign_up("bob").await];
    let room = people[0].room_with(&people[1]).await;
    let (recorder, stop) = (Recorder::default(), CancellationToken::new());
    let clients = (0..CLIENTS).map(|n| {
        let http = CallTls::public().unwrap().client().build().unwrap();
        let sender = Sender { me: people[n % 2].client.clone(), http, room, recorder: recorder.clone() };
        tokio::spawn(sender.send_files(StdRng::seed_from_u64(seed + n as u64), stop.clone()))
    });
    let clients: Vec<_> = clients.collect();

    let kills = stack.sized(10, 60);
    let (replicas, store) = (stack.replicas("chat-service").await, ["object-store".to_owned()]);
    tokio::join!(
        stack.kill_in_turn(&replicas, kills, &LIFETIME_MILLIS, seed),
        stack.kill_in_turn(&store, kills, &LIFETIME_MILLIS, seed + 1)
    );
    stop.cancel();
    let sent: Vec<Sent> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();

    for sent in &sent {
        verify(sent, &people[1].client).await;
    }
    let listed = people[1].client.get(&format!("/api/messages/{room}?limit=1")).await.expect(200);
    let kept = sent.iter().filter(|sent| !sent.is_deleted).count();
    assert_eq!(listed["total_count"], kept, "each message is stored once");
    sweep_all().await;
    let account = text(&check_files().await);
    for expected in [&*orphans, "objects of uploads: 0", "messages without their object: 0"] {
        assert!(account.contains(expected), "{expected}: {account}");
    }
    let history = recorder.history();
    let wrong = history.failures_except(&[NO_ANSWER, 502, 503]);
    assert!(wrong.is_empty(), "{wrong:?}");
    let deleted = sent.len() - kept;
    println!("  {kept} files, {deleted} deleted; failed attempts by status: {:?}", history.failures_by_status());
}

/// A member who sends files, as the chat page does.
struct Sender {
    me: Client,
    /// For the requests to the object store.
    http: reqwest::Client,
    room: i64,
    recorder: Recorder,
}

impl Sender {
    async fn send_files(self, mut random: StdRng, stop: CancellationToken) -> Vec<Sent> {
        let mut all = Vec::new();
        for n in random.random_range(1..LARGE_EVERY).. {
            if tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok() {
                break;
            }
            if n.is_multiple_of(CANCEL_EVERY) {
                self.cancel(&file(n, &mut random)).await;
            }
            let mut sent = self.send(file(n, &mut random)).await;
            if n.is_multiple_of(DELETE_EVERY) {
                self.retry_once_only(Method::DELETE, format!("/api/messages/{}", sent.id), 400).await;
                sent.is_deleted = true;
            }
            all.push(sent);
        }
        all
    }

    /// Sends a file. An upload whose object is lost is replaced by another, and the message stays the same.
    async fn send(&self, file: File) -> Sent {
        let client_message_id = Uuid::new_v4();
        loop {
            let upload = self.request(&file).await;
            if !self.store(&upload, &file.bytes).await {
                continue;
            }
            let body = json!({
                "message_type": file.message_type, "upload_id": upload["upload_id"],
                "client_message_id": client_message_id
            });
            let reply = self.retry(Method::POST, format!("/api/messages/{}", self.room), &body).await;
            match reply.status {
                200 | 201 => {
                    return Sent { id: reply.body["id"].as_str().unwrap().to_owned(), file, is_deleted: false };
                }
                409 | 410 => self.use_another(&reply),
                status => panic!("send: {status} {}", reply.body),
            }
        }
    }

    async fn cancel(&self, file: &File) {
        let upload = self.request(file).await;
        self.store(&upload, &file.bytes).await;
        self.retry_once_only(Method::DELETE, self.path_of(&upload), 404).await;
    }

    async fn request(&self, file: &File) -> Value {
        let wanted = json!({"file_name": "a", "file_size": file.bytes.len(), "file_type": file.file_type});
        let reply = self.retry(Method::POST, format!("/api/messages/{}/uploads", self.room), &wanted).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body
    }

    /// Stores an object. Returns false if its parts are lost.
    async fn store(&self, upload: &Value, bytes: &[u8]) -> bool {
        let Some(size) = upload["parts"]["size"].as_u64() else {
            self.put(upload["url"].as_str().unwrap(), &upload["headers"], bytes).await;
            return true;
        };
        let mut tags = Vec::new();
        for (url, part) in upload["parts"]["urls"].as_array().unwrap().iter().zip(bytes.chunks(size as usize)) {
            tags.push(self.put(url.as_str().unwrap(), &json!({}), part).await);
        }
        let complete = format!("{}/complete", self.path_of(upload));
        let reply = self.retry(Method::POST, complete, &json!({"etags": tags})).await;
        if reply.status != 204 {
            self.use_another(&reply);
        }
        reply.status == 204
    }

    /// Panics unless an upload can be lost for this reason: parts that were stored while the store was killed, or ten copies whose
    /// replicas were.
    fn use_another(&self, reply: &Reply) {
        let code = reply.body["error"].as_str().unwrap_or_default();
        assert!(["UPLOAD_INCOMPLETE", "UPLOAD_EXPIRED"].contains(&code), "{} {}", reply.status, reply.body);
        println!("  {code}: another upload");
    }

    /// Stores bytes with a presigned request, which is repeated until the store accepts them. Returns the tag.
    async fn put(&self, url: &str, headers: &Value, bytes: &[u8]) -> String {
        eventually("the store accepts the bytes", || async {
            let mut request = self.http.put(url).body(bytes.to_vec());
            for (name, value) in headers.as_object().unwrap() {
                request = request.header(name, value.as_str().unwrap());
            }
            let answer = request.send().await.ok()?.error_for_status().ok()?;
            Some(answer.headers()["etag"].to_str().unwrap().to_owned())
        })
        .await
    }

    fn path_of(&self, upload: &Value) -> String {
        format!("/api/messages/{}/uploads/{}", self.room, upload["upload_id"].as_str().unwrap())
    }

    async fn retry(&self, method: Method, path: String, body: &Value) -> Reply {
        let request = || self.me.request(method.clone(), &path).json(body);
        self.recorder.retry(Operation::WriteMessage, request).await
    }

    async fn retry_once_only(&self, method: Method, path: String, already_done: u16) {
        let request = || self.me.request(method.clone(), &path);
        self.recorder.retry_once_only(Operation::WriteMessage, already_done, request).await;
    }
}

/// The n-th file of a sender: a picture, a file in parts, or a small one.
fn file(n: usize, random: &mut StdRng) -> File {
    if n.is_multiple_of(PICTURE_EVERY) {
        return File { message_type: "image", file_type: "image/png", bytes: PICTURE.to_vec() };
    }
    let len = if n.is_multiple_of(LARGE_EVERY) { WHOLE_BYTES + 1_000 } else { random.random_range(1..200_000) };
    let first = random.random::<u8>();
    let bytes = (0..len).map(|n| first.wrapping_add((n % 251) as u8)).collect();
    File { message_type: "file", file_type: "application/octet-stream", bytes }
}

/// A message that is kept has its file, and a deleted one has none.
async fn verify(sent: &Sent, reader: &Client) {
    let path = format!("/api/messages/{}/file", sent.id);
    if sent.is_deleted {
        reader.get(&path).await.expect(404);
        return;
    }
    let began = Instant::now();
    let answer = loop {
        let answer = reader.request(Method::GET, &path).send().await.unwrap();
        let is_pending = answer.status() == 409;
        if !is_pending || began.elapsed() > SLACK * CHECK_DEADLINE {
            break answer;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    };
    assert_eq!(answer.status(), 200, "{path}");
    assert!(answer.bytes().await.unwrap() == sent.file.bytes, "{path} has other bytes");
    if sent.file.message_type == "image" {
        let thumbnail = reader.request(Method::GET, &format!("/api/messages/{}/thumbnail", sent.id)).send().await;
        assert_eq!(thumbnail.unwrap().status(), 200, "{path}");
    }
}

/// Lets the sweep look at all uploads as if they were more than a day old.
async fn sweep_all() {
    let mongodb = mongodb::Client::with_uri_str(setting("MONGO_URL")).await.unwrap();
    let uploads = mongodb.database(&setting("MONGODB_DB_NAME")).collection::<Document>("uploads");
    let aged = doc! {"$subtract": ["$created_at", 25 * 3_600_000_i64]};
    let aged = vec![doc! {"$set": {"created_at": aged, "due": DateTime::from_millis(1)}}];
    uploads.update_many(doc! {"due": {"$exists": true}}, aged).await.unwrap();
    let removed = vec![doc! {"$set": {"due": DateTime::from_millis(1)}}];
    let began = Instant::now();
    while uploads.count_documents(doc! {"due": {"$exists": true}}).await.unwrap() > 0 {
        assert!(began.elapsed() < SLACK * SWEEP_DEADLINE, "the sweep has not looked at all uploads");
        uploads.update_many(doc! {"state": {"$in": ["discarded", "removed"]}}, removed.clone()).await.unwrap();
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Executes `chat-service files check` with the stores of the stack.
async fn check_files() -> Output {
    let program = PathBuf::from(setting("STACK_PROGRAMS")).join("chat-service");
    Command::new(program).args(["files", "check"]).output().await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The line of an account that counts the objects without an owner.
fn orphans(account: &Output) -> String {
    let account = text(account);
    let line = account.lines().find(|line| line.starts_with("objects without an owner: "));
    line.unwrap_or_else(|| panic!("{account}")).to_owned()
}
