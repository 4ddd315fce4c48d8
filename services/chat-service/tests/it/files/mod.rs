//! Attachments, with a real object store.

mod account;
mod parts;
mod pictures;
mod refusals;
mod removal;
mod scanning;
mod store;

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Events, FaultyLink, eventually};

use crate::app::TestApp;
use crate::person::{message_path, pluck};
use crate::process::Process;
use store::{Store, URL, age, file, key_of_message, key_of_upload, requests, sends, sha256, stored, uploads};

fn fields(message: &Value) -> [Value; 4] {
    ["file_url", "file_name", "file_size", "file_type"].map(|field| message[field].clone())
}

#[tokio::test]
async fn a_file_is_stored_sent_and_downloaded_byte_for_byte() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, bytes) = (Store::new(), file(300_000));
    let mut stream = bob.subscribes(room, None).await;

    let wanted = json!({
        "file_name": " 휴가 사진.zip", "file_size": bytes.len(), "file_type": "Application/ZIP", "sha256": sha256(&bytes)
    });
    let upload = ann.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
    assert_eq!((&upload["method"], &upload["expires_in"]), (&json!("PUT"), &json!(900)));
    store.put(&upload, bytes.clone()).await.unwrap();
    let body = json!({"message_type": "file", "upload_id": upload["upload_id"], "content": "바다"});
    let sent = ann.client.post(&format!("/messages/{room}"), body).await.expect(201);

    let path = format!("/api{}/file", message_path(&sent));
    let expected = [json!(path), json!("휴가 사진.zip"), json!(bytes.len()), json!("application/zip")];
    assert_eq!((fields(&sent), &sent["content"]), (expected.clone(), &json!("바다")));
    assert_eq!(fields(&bob.messages(room).await[0]), expected);
    assert_eq!(fields(&stream.next_named("new_message").await.data), expected);
    let published = Events::of(&app.space.topics().message_events).expect("MessageSent", 1).await;
    assert_eq!(fields(&published[0]), expected);

    let answer = store.follow(&bob, &sent).await;
    assert_eq!(answer.headers()["content-type"], "application/zip");
    assert_eq!(
        answer.headers()["content-disposition"],
        "attachment; filename=\"__ __.zip\"; filename*=UTF-8''%ED%9C%B4%EA%B0%80%20%EC%82%AC%EC%A7%84.zip"
    );
    assert_eq!(answer.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_file_that_a_browser_would_run_is_saved() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, page) = (Store::new(), b"<script>alert(1)</script>".to_vec());
    for file_type in ["text/html", "image/svg+xml"] {
        let wanted = json!({"file_name": "a", "file_size": page.len(), "file_type": file_type});
        let upload = ann.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
        store.put(&upload, page.clone()).await.unwrap();
        let sent = sends(&ann, room, &upload, None).await.expect(201);

        let answer = store.follow(&bob, &sent).await;
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment; "));
    }
}

#[tokio::test]
async fn a_repeat_returns_the_first_message() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"once").await;

    let sent = sends(&ann, room, &upload, Some("c-1")).await.expect(201);
    let repeated = sends(&ann, room, &upload, Some("c-1")).await.expect(200);
    assert_eq!((&repeated["id"], fields(&repeated)), (&sent["id"], fields(&sent)));
    for client_message_id in [None, Some("c-2")] {
        let refused = sends(&ann, room, &upload, client_message_id).await.expect(409);
        assert_eq!(refused["error"], "UPLOAD_ALREADY_SENT");
    }
    assert_eq!(ann.messages(room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_sends_of_one_upload_at_two_replicas_leave_one_message() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let ann_there = app.person_at(&replica, ann.id);
    let store = Store::new();
    for round in 0..5 {
        let bytes = file(1_000 + round);
        let upload = uploads(&ann, room, &store, &bytes).await;
        let (upload, at) = (&upload, [&ann, &ann_there]);

        let answers = join_all(
            (0..8).map(|n| async move { sends(at[n % 2], room, upload, Some(&format!("c-{round}-{n}"))).await }),
        );
        let answers = answers.await;

        let (sent, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(sent.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|answer| answer.body["error"] == "UPLOAD_ALREADY_SENT"), "{refused:?}");
        assert_eq!(store.follow(&bob, &sent[0].body).await.bytes().await.unwrap(), bytes);
        assert_eq!(ann.messages(room).await.len(), round + 1);

        let copies = stored(&app, upload).await.unwrap();
        let copies: Vec<String> = copies
            .get_array("copies")
            .unwrap()
            .iter()
            .map(|id| format!("files/{}", id.as_object_id().unwrap()))
            .collect();
        age(&app, upload).await;
        store.gone(&key_of_upload(upload)).await;
        let kept = key_of_message(&sent[0].body);
        assert!(copies.contains(&kept) && store.exists(&kept).await);
        for copy in copies.iter().filter(|copy| **copy != kept) {
            store.gone(copy).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_at_two_replicas_return_one_message() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let replica = app.replica().await;
    let ann_there = app.person_at(&replica, ann.id);
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"once").await;
    let (upload, at) = (&upload, [&ann, &ann_there]);

    let answers = join_all((0..8).map(|n| async move { sends(at[n % 2], room, upload, Some("c-1")).await })).await;

    assert!(answers.iter().all(|answer| [200, 201].contains(&answer.status)), "{answers:?}");
    let bodies: Vec<Value> = answers.into_iter().map(|answer| answer.body).collect();
    let ids: HashSet<String> = pluck(&bodies, "id").iter().map(Value::to_string).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(ann.messages(room).await.len(), 1);
}

#[tokio::test]
async fn an_object_that_is_replaced_after_the_send_leaves_the_message_as_it_is() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"before").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);

    store.put(&upload, b"after!".to_vec()).await.unwrap();

    assert_eq!(store.follow(&bob, &sent).await.bytes().await.unwrap(), "before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_copy_and_the_commit_leaves_no_message_and_no_object() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"exactly once").await;
    let direct = std::env::var(URL).unwrap();
    let link = FaultyLink::to(direct.strip_prefix("http://").unwrap().parse().unwrap(), 1, 1).await;
    let settings = [(URL, format!("http://{}", link.address))];
    let process = Process::start(&app.space, &app.mysql_url, &settings).ready().await;
    let there = crate::person::Person { id: ann.id, client: process.client(ann.client.token()) };
    // The copy is made, and its check waits.
    link.hold("HEAD /bigtech-chat/files/");

    let (person, held) = (there.clone(), upload.clone());
    let send = tokio::spawn(async move {
        let body = json!({"message_type": "file", "upload_id": held["upload_id"], "client_message_id": "c-1"});
        person.client.request(reqwest::Method::POST, &format!("/messages/{room}")).json(&body).send().await.is_ok()
    });
    let copy = eventually("the copy is made", || async {
        let copies = stored(&app, &upload).await?.get_array("copies").ok()?.clone();
        let key = format!("files/{}", copies.first()?.as_object_id()?);
        store.exists(&key).await.then_some(key)
    })
    .await;
    process.kill().await;
    assert!(!send.await.unwrap(), "the client has no answer");
    assert!(ann.messages(room).await.is_empty());

    let sent = sends(&ann, room, &upload, Some("c-1")).await.expect(201);
    assert_eq!(store.follow(&bob, &sent).await.bytes().await.unwrap(), "exactly once");
    assert_eq!(ann.messages(room).await.len(), 1);
    age(&app, &upload).await;
    store.gone(&copy).await;
    store.gone(&key_of_upload(&upload)).await;
    assert!(store.exists(&key_of_message(&sent)).await);
}

#[tokio::test]
async fn the_store_accepts_only_the_file_that_was_asked_for() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let (store, bytes) = (Store::new(), b"right".to_vec());
    let upload = requests(&ann, room, &bytes).await;

    assert_eq!(store.put(&upload, b"longer".to_vec()).await, Err(403));
    let mut other_type = upload.clone();
    other_type["headers"]["content-type"] = json!("text/html");
    assert_eq!(store.put(&other_type, bytes.clone()).await, Err(403));
    let mut compressed = upload.clone();
    compressed["headers"]["content-encoding"] = json!("gzip");
    if store.put(&compressed, bytes.clone()).await.is_ok() {
        assert_eq!(sends(&ann, room, &upload, None).await.expect(409)["error"], "UPLOAD_CHANGED");
    }
    let mut copies_another = upload.clone();
    copies_another["headers"]["x-amz-copy-source"] = json!(format!("/bigtech-chat/{}", key_of_upload(&upload)));
    assert_eq!(store.put(&copies_another, bytes.clone()).await, Err(403));
    let mut other_key = upload.clone();
    let url = upload["url"].as_str().unwrap().replace("/uploads/", "/files/");
    other_key["url"] = json!(url);
    assert_eq!(store.put(&other_key, bytes.clone()).await, Err(403));
    let wanted = json!({
        "file_name": "a.txt", "file_size": 5, "file_type": "text/plain", "sha256": sha256(&bytes)
    });
    let checked = ann.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
    assert_eq!(store.put(&checked, b"wrong".to_vec()).await, Err(400));
    assert_eq!(sends(&ann, room, &checked, None).await.expect(409)["error"], "UPLOAD_CHANGED");
    store.put(&checked, bytes).await.unwrap();
    sends(&ann, room, &checked, None).await.expect(201);
}
