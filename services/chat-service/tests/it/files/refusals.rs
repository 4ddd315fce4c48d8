//! Uploads and sends that are refused.

use serde_json::{Value, json};
use testkit::Answer;

use super::store::{Store, URL, age, counted, key_of_upload, requests, sends, stored, uploads};
use crate::app::TestApp;
use crate::person::{Person, message_path};

async fn asks(person: &Person, room: i64, change: Value) -> Answer {
    let mut wanted = json!({"file_name": "a.txt", "file_size": 10, "file_type": "text/plain"});
    wanted.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    person.client.post(&format!("/messages/{room}/uploads"), wanted).await
}

fn assert_refused(answer: Answer, status: u16, code: &str) {
    assert_eq!(answer.expect(status)["error"], code);
}

#[tokio::test]
async fn a_file_that_breaks_a_rule_gets_no_upload() {
    let limits = [("FILE_MAX_IMAGE_BYTES", "20"), ("FILE_MAX_BYTES", "100"), ("FILE_TYPES", "text/*,image/png")];
    let app = TestApp::start_with(&limits.map(|(name, value)| (name, value.to_owned()))).await;
    let (ann, _, room) = app.direct_room().await;

    for name in ["", "../a", "a/b", "a\\b", "a\nb", "gpj.\u{202e}exe", &"가".repeat(201)] {
        assert_refused(asks(&ann, room, json!({"file_name": name})).await, 422, "validation_error");
    }
    for change in [
        json!({"file_size": 0}),
        json!({"file_size": -1}),
        json!({"file_size": "x"}),
        json!({"file_type": "text"}),
        json!({"file_type": "text/plain\r\nx-amz-acl: public-read"}),
        json!({"sha256": "abc"}),
        json!({"file_name": null}),
    ] {
        assert_refused(asks(&ann, room, change).await, 422, "validation_error");
    }
    for file_type in ["image/gif", "application/pdf"] {
        assert_refused(asks(&ann, room, json!({"file_type": file_type})).await, 400, "FILE_TYPE_NOT_ALLOWED");
    }
    assert_refused(asks(&ann, room, json!({"file_size": 101})).await, 400, "FILE_TOO_LARGE");
    assert_refused(asks(&ann, room, json!({"file_size": 21, "file_type": "image/png"})).await, 400, "FILE_TOO_LARGE");
    asks(&ann, room, json!({"file_size": 20, "file_type": "image/png"})).await.expect(201);
    asks(&ann, room, json!({"file_size": 100})).await.expect(201);
    let limits = ann.client.get("/chat-rooms/limits").await.expect(200);
    assert_eq!((&limits["image_max_bytes"], &limits["file_max_bytes"]), (&json!(20), &json!(100)));
    assert_eq!(limits["file_types"], json!(["text/*", "image/png"]));
}

#[tokio::test]
async fn only_members_get_uploads_and_files() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let (store, eve) = (Store::new(), app.person(3));
    let upload = uploads(&ann, room, &store, b"secret").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);
    let file = sent["file_url"].as_str().unwrap();

    assert_refused(asks(&eve, room, json!({})).await, 403, "authorization_error");
    assert_refused(asks(&eve, 999_999, json!({})).await, 404, "resource_not_found");
    assert_refused(eve.client.get(file).await, 403, "authorization_error");
    assert_refused(app.anonymous().get(file).await, 401, "authentication_error");
    assert_refused(ann.client.get("/messages/ffffffffffffffffffffffff/file").await, 404, "resource_not_found");
    let without = ann.sends(room, "text").await;
    assert_refused(ann.client.get(&format!("{}/file", message_path(&without))).await, 404, "resource_not_found");
}

#[tokio::test]
async fn a_ticket_opens_one_download_as_its_holder() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, eve) = (Store::new(), app.person(3));
    let upload = uploads(&ann, room, &store, b"secret").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);
    let with_ticket = async |person: &Person| {
        let ticket = person.client.post("/messages/stream/ticket", json!({})).await.expect(200);
        format!("{}?ticket={}", sent["file_url"].as_str().unwrap(), ticket["ticket"].as_str().unwrap())
    };
    let (of_member, of_stranger) = (with_ticket(&bob).await, with_ticket(&eve).await);

    let anonymous = Person { id: 0, client: app.anonymous() };
    let answer = store.follow(&anonymous, &json!({"file_url": of_member})).await;
    assert_eq!(answer.bytes().await.unwrap(), "secret");
    anonymous.client.get(&of_member).await.expect(401);
    anonymous.client.get(&of_stranger).await.expect(403);
    anonymous.client.get(&format!("{}?ticket=x", sent["file_url"].as_str().unwrap())).await.expect(401);
}

#[tokio::test]
async fn a_blocked_user_gets_no_upload_and_sends_none() {
    let app = TestApp::start().await;
    // 6 has blocked 7.
    let (six, seven) = (app.person(6), app.person(7));
    let group = six.group_with(&[8]).await;
    let room = crate::blocks::existing_room(&app, six.id, seven.id).await;
    testkit::eventually("the blocks are loaded", || async {
        (six.tries_to_send(room, "?").await.status == 403).then_some(())
    })
    .await;

    for person in [&six, &seven] {
        assert_refused(asks(person, room, json!({})).await, 403, "BLOCKED");
        let upload = json!({"upload_id": "ffffffffffffffffffffffff"});
        assert_refused(sends(person, room, &upload, None).await, 403, "BLOCKED");
    }
    asks(&six, group, json!({})).await.expect(201);
}

#[tokio::test]
async fn the_files_of_a_user_take_no_more_bytes_than_the_quota() {
    let app = TestApp::start_with(&[("FILE_QUOTA_BYTES", "400".to_owned())]).await;
    let (ann, bob, room) = app.direct_room().await;

    let wanted = (0..50).map(|_| async {
        // On a slow machine, the last ones do not have their turn in time.
        testkit::eventually("an answer", || async {
            Some(asks(&ann, room, json!({"file_size": 10})).await).filter(|answer| answer.status != 503)
        })
        .await
    });
    let answers = futures_util::future::join_all(wanted).await;

    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((granted.len(), refused.len()), (40, 10));
    refused.into_iter().for_each(|answer| assert_refused(answer, 403, "FILE_QUOTA_EXCEEDED"));
    assert_eq!((counted(&app, ann.id).await, counted(&app, bob.id).await), (400, 0));
    asks(&bob, room, json!({"file_size": 100})).await.expect(201);
}

#[tokio::test]
async fn an_upload_is_sent_by_its_owner_to_its_room_within_a_day() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let other_room = ann.room_with(3).await;
    let store = Store::new();

    let missing = requests(&ann, room, b"text").await;
    assert_refused(sends(&ann, room, &missing, None).await, 409, "UPLOAD_INCOMPLETE");
    let upload = uploads(&ann, room, &store, b"text").await;
    assert_refused(sends(&bob, room, &upload, None).await, 404, "UPLOAD_NOT_FOUND");
    assert_refused(sends(&app.person(3), room, &upload, None).await, 403, "authorization_error");
    assert_refused(sends(&ann, other_room, &upload, None).await, 400, "UPLOAD_OF_OTHER_ROOM");
    for id in ["ffffffffffffffffffffffff", "nonsense", ""] {
        assert_refused(sends(&ann, room, &json!({"upload_id": id}), None).await, 404, "UPLOAD_NOT_FOUND");
    }
    for message_type in ["text", "image"] {
        let body = json!({"message_type": message_type, "upload_id": upload["upload_id"]});
        assert_refused(ann.client.post(&format!("/messages/{room}"), body).await, 400, "INVALID_INPUT");
    }
    let blank = json!({"message_type": "file", "upload_id": upload["upload_id"], "content": " \u{200b}"});
    assert_refused(ann.client.post(&format!("/messages/{room}"), blank).await, 400, "INVALID_INPUT");
    let without = ann.client.post(&format!("/messages/{room}"), json!({"message_type": "file"})).await.expect(422);
    assert_eq!(without["detail"][0]["type"], "missing");
    assert!(ann.messages(room).await.is_empty());
    sends(&ann, room, &upload, None).await.expect(201);
}

#[tokio::test]
async fn an_old_upload_is_not_sent() {
    let app = TestApp::start_with(&[("FILE_STORE_URL", closed())]).await;
    let (ann, _, room) = app.direct_room().await;
    let upload = requests(&ann, room, b"text").await;
    // The store does not answer, so the sweep cannot remove it.
    age(&app, &upload).await;

    testkit::eventually("the sweep has discarded the upload", || async {
        let refused = sends(&ann, room, &upload, None).await;
        let code = refused.body["error"].as_str()?.to_owned();
        assert!(["UPLOAD_EXPIRED", "UPLOAD_NOT_FOUND"].contains(&code.as_str()), "{}", refused.text);
        (code == "UPLOAD_NOT_FOUND").then_some(())
    })
    .await;
    assert!(stored(&app, &upload).await.is_some());
}

#[tokio::test]
async fn a_changed_object_is_not_sent() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"text").await;
    let key = key_of_upload(&upload);

    for (content_type, bytes) in [("text/plain", "longer"), ("text/html", "text")] {
        store.replace(&key, content_type, bytes.into()).await;
        assert_refused(sends(&ann, room, &upload, None).await, 409, "UPLOAD_CHANGED");
    }
    assert!(ann.messages(room).await.is_empty());
    store.replace(&key, "text/plain", "text".into()).await;
    sends(&ann, room, &upload, None).await.expect(201);
}

/// The URL of a store that does not answer.
fn closed() -> String {
    format!("http://127.0.0.1:{}", crate::process::free_port())
}

#[tokio::test]
async fn without_an_answer_of_the_store_a_send_is_503_and_can_be_repeated() {
    let app = TestApp::start_with(&[(URL, closed()), ("FILE_STORE_PUBLIC_URL", std::env::var(URL).unwrap())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let upload = uploads(&ann, room, &Store::new(), b"text").await;

    let refused = sends(&ann, room, &upload, Some("c-1")).await;
    assert!(refused.header("retry-after").is_some());
    assert_refused(refused, 503, "service_unavailable");
    assert_eq!(bob.messages(room).await.len(), 0);
    ann.sends(room, "text needs no store").await;
}

#[tokio::test]
async fn without_a_store_attachments_are_disabled_and_all_else_works() {
    let app = TestApp::start_with(&[(URL, String::new())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let sent = ann.sends(room, "text").await;

    assert_refused(asks(&ann, room, json!({})).await, 501, "ATTACHMENTS_DISABLED");
    assert_refused(sends(&ann, room, &json!({"upload_id": "x"}), None).await, 501, "ATTACHMENTS_DISABLED");
    assert_refused(ann.client.get(&format!("{}/file", message_path(&sent))).await, 501, "ATTACHMENTS_DISABLED");
    let limits = ann.client.get("/chat-rooms/limits").await.expect(200);
    let of_files = ["image_max_bytes", "file_max_bytes", "file_quota_bytes", "file_types"];
    assert!(of_files.iter().all(|limit| limits[limit].is_null()), "{limits}");
    let typed = json!({"content": "an old client", "message_type": "image"});
    ann.client.post(&format!("/messages/{room}"), typed).await.expect(201);
    assert_eq!(bob.messages(room).await.len(), 2);
}
