//! Files that are stored in parts.

use std::time::Instant;

use axum::body::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::sync::Semaphore;

use super::store::{Store, URL, counted, file, given_back, key_of_message, key_of_upload, sends, sha256, stored};
use crate::app::TestApp;
use crate::person::Person;
use crate::process::Process;

/// Two parts, the second one with three bytes.
const BYTES: usize = (16 << 20) + 3;

async fn requests(person: &Person, room: i64, sha256: Option<&str>) -> Value {
    let wanted = json!({"file_name": "a.bin", "file_size": BYTES, "file_type": "video/mp4", "sha256": sha256});
    person.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201)
}

fn path(room: i64, upload: &Value) -> String {
    format!("/messages/{room}/uploads/{}", upload["upload_id"].as_str().unwrap())
}

/// Stores the parts, completes the file, and sends it.
async fn stores_and_sends(person: &Person, room: i64, store: &Store, upload: &Value, bytes: &[u8]) -> Value {
    let etags = store.put_parts(upload, bytes).await;
    person.client.post(&format!("{}/complete", path(room, upload)), json!({"etags": etags})).await.expect(204);
    sends(person, room, upload, None).await.expect(201)
}

#[tokio::test]
async fn a_large_file_is_stored_in_parts_and_downloaded_as_a_whole() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, bytes) = (Store::new(), file(BYTES));
    let upload = requests(&ann, room, None).await;
    assert_eq!((&upload["url"], &upload["parts"]["size"]), (&Value::Null, &json!(16 << 20)));
    let complete = format!("{}/complete", path(room, &upload));

    assert_eq!(sends(&ann, room, &upload, None).await.expect(409)["error"], "UPLOAD_INCOMPLETE");
    let etags = store.put_parts(&upload, &bytes).await;
    assert_eq!(sends(&ann, room, &upload, None).await.expect(409)["error"], "UPLOAD_INCOMPLETE");
    for wrong in [json!([]), json!(["x"]), json!(vec!["x"; 101]), json!([etags[0], "x".repeat(201)])] {
        ann.client.post(&complete, json!({"etags": wrong})).await.expect(422);
    }
    let three = json!({"etags": [etags[0], etags[1], etags[1]]});
    assert_eq!(ann.client.post(&complete, three).await.expect(409)["error"], "UPLOAD_INCOMPLETE");
    let both = json!({"etags": etags});
    let answers = join_all((0..4).map(|_| ann.client.post(&complete, both.clone()))).await;
    assert!(answers.iter().any(|answer| answer.status == 204), "{answers:?}");
    assert!(answers.iter().all(|answer| [204, 409, 503].contains(&answer.status)), "{answers:?}");
    ann.client.post(&complete, both).await.expect(204);
    let sent = sends(&ann, room, &upload, None).await.expect(201);

    assert_eq!((&sent["file_state"], &sent["file_size"]), (&json!("ready"), &json!(BYTES)));
    let answer = store.follow(&bob, &sent).await;
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    assert!(answer.bytes().await.unwrap() == bytes, "the bytes are those that were sent");
}

#[tokio::test]
async fn a_part_has_exactly_its_size() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let upload = requests(&ann, room, None).await;
    let second = upload["parts"]["urls"][1].as_str().unwrap();
    assert_eq!(store.put_part(second, file(4)).await, Err(403));
    assert_eq!(store.put_part(&second.replace("/uploads/", "/files/"), file(3)).await, Err(403));
    assert_eq!(store.put_part(&second.replace("partNumber=2", "partNumber=3"), file(3)).await, Err(403));
    store.put_part(second, file(3)).await.unwrap();
}

#[tokio::test]
async fn the_checksum_of_a_file_in_parts_is_compared_after_the_send() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, bytes) = (Store::new(), file(BYTES));
    let state_of_newest = async || {
        eventually("the file is checked", || async {
            let newest = bob.messages(room).await.pop()?;
            (newest["file_state"] != "pending").then_some(newest["file_state"].clone())
        })
        .await
    };

    let right = requests(&ann, room, Some(&sha256(&bytes))).await;
    let sent = stores_and_sends(&ann, room, &store, &right, &bytes).await;
    assert_eq!((&sent["file_state"], state_of_newest().await), (&json!("pending"), json!("ready")));

    let wrong = requests(&ann, room, Some(&sha256(b"another"))).await;
    let sent = stores_and_sends(&ann, room, &store, &wrong, &bytes).await;
    assert_eq!(state_of_newest().await, "rejected");
    store.gone(&key_of_message(&sent)).await;
}

#[tokio::test]
async fn a_cancelled_upload_is_not_sent_and_counts_until_its_request_ends() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, whole, other) = (Store::new(), file(5), ann.room_with(3).await);
    let in_parts = requests(&ann, room, None).await;
    store.put_part(in_parts["parts"]["urls"][1].as_str().unwrap(), file(3)).await.unwrap();
    let small = super::store::uploads(&ann, room, &store, &whole).await;
    assert_eq!(counted(&app, ann.id).await, BYTES as i64 + 5);

    for upload in [&in_parts, &small] {
        bob.client.delete(&path(room, upload)).await.expect(404);
        assert_eq!(ann.client.delete(&path(other, upload)).await.expect(400)["error"], "UPLOAD_OF_OTHER_ROOM");
        let of_ann = path(room, upload);
        let cancelled = join_all((0..3).map(|_| ann.client.delete(&of_ann))).await;
        assert!(cancelled.iter().all(|answer| answer.status == 204), "{cancelled:?}");
        assert_eq!(sends(&ann, room, upload, None).await.expect(404)["error"], "UPLOAD_NOT_FOUND");
    }

    // The parts cannot be stored any more, and the small file can.
    eventually("the parts count no longer", || async { (counted(&app, ann.id).await == 5).then_some(()) }).await;
    store.gone(&key_of_upload(&small)).await;
    store.put(&small, whole.clone()).await.unwrap();
    given_back(&app, ann.id).await;
    store.gone(&key_of_upload(&small)).await;
    let etags = json!({"etags": ["\"a\"", "\"b\""]});
    ann.client.post(&format!("{}/complete", path(room, &in_parts)), etags).await.expect(404);
    assert_eq!(store.put_part(in_parts["parts"]["urls"][1].as_str().unwrap(), file(3)).await, Err(403));
    let sent = super::store::uploads(&ann, room, &store, &whole).await;
    sends(&ann, room, &sent, None).await.expect(201);
    assert_eq!(ann.client.delete(&path(room, &sent)).await.expect(409)["error"], "UPLOAD_ALREADY_SENT");
}

#[tokio::test]
async fn only_the_owner_in_the_room_completes_an_upload() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (upload, eve) = (requests(&ann, room, None).await, app.person(3));
    let etags = json!({"etags": ["\"a\"", "\"b\""]});
    let complete = format!("{}/complete", path(room, &upload));
    bob.client.post(&complete, etags.clone()).await.expect(404);
    eve.client.post(&complete, etags.clone()).await.expect(403);
    app.anonymous().post(&complete, etags.clone()).await.expect(401);
    let other = ann.room_with(3).await;
    let elsewhere = ann.client.post(&format!("{}/complete", path(other, &upload)), etags.clone()).await;
    assert_eq!(elsewhere.expect(400)["error"], "UPLOAD_OF_OTHER_ROOM");
    let small = super::store::requests(&ann, room, b"small").await;
    let complete = format!("{}/complete", path(room, &small));
    assert_eq!(ann.client.post(&complete, etags.clone()).await.expect(409)["error"], "UPLOAD_INCOMPLETE");
    Store::new().put(&small, b"small".to_vec()).await.unwrap();
    ann.client.post(&complete, etags).await.expect(204);
    assert!(stored(&app, &upload).await.unwrap().contains_key("multipart"));
}

/// `cargo stack test -- -p chat-service --test it fifty_uploads -- --ignored --nocapture`. It takes 10 GB of disk for some minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "stores 5 GB twice"]
async fn fifty_uploads_of_100_mb_at_once_leave_the_memory_flat() {
    const LARGE: usize = 100_000_000;
    let app = TestApp::start_with(&[(URL, String::new())]).await;
    let (ann, _, room) = app.direct_room().await;
    let settings = [(URL, std::env::var(URL).unwrap()), ("FILE_QUOTA_BYTES", (60 * LARGE).to_string())];
    let process = Process::start(&app.space, &app.mysql_url, &settings).ready().await;
    let (ann, store) = (Person { id: ann.id, client: process.client(ann.client.token()) }, Store::new());
    let bytes = Bytes::from(file(LARGE));
    // The store of the local stack copies all bytes when it completes a file, and again for the message.
    let turns = Semaphore::new(2);
    let sends_one = async |n: usize| {
        let wanted = json!({"file_name": "a.bin", "file_size": LARGE, "file_type": "video/mp4"});
        let upload = ann.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
        let size = upload["parts"]["size"].as_u64().unwrap() as usize;
        let mut etags = Vec::new();
        for (part, url) in upload["parts"]["urls"].as_array().unwrap().iter().enumerate() {
            let piece = bytes.slice(part * size..LARGE.min((part + 1) * size));
            etags.push(store.put_part(url.as_str().unwrap(), piece).await.unwrap());
        }
        let _turn = turns.acquire().await.unwrap();
        let (complete, body) = (format!("{}/complete", path(room, &upload)), json!({"etags": etags}));
        eventually("the file is complete", || async {
            (ann.client.post(&complete, body.clone()).await.status == 204).then_some(())
        })
        .await;
        let began = Instant::now();
        eventually("the message is sent", || async {
            let status = sends(&ann, room, &upload, Some(&n.to_string())).await.status;
            [200, 201].contains(&status).then_some(())
        })
        .await;
        began.elapsed()
    };
    println!("one alone is sent in {:?}", sends_one(0).await);
    let before = process.peak_memory();

    let mut times = join_all((1..=50).map(&sends_one)).await;

    times.sort_unstable();
    let grown = process.peak_memory().saturating_sub(before);
    println!(
        "{before} KB before, {grown} KB more; a send takes {:?} in the median, {:?} at most",
        times[25], times[49]
    );
    assert!(grown < 30_000, "{grown} KB");
}
