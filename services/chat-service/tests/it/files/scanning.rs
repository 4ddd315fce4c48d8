//! Files that a scanner looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use mongodb::bson::doc;
use serde_json::json;
use testkit::eventually;

use super::store::{Store, given_back, key_of_message, sends, uploads};
use crate::app::TestApp;
use crate::fakes::serve;

/// A scanner that gives the answer of the moment, and rejects files with a word.
pub async fn scanner() -> (String, Arc<AtomicU16>) {
    let answer = Arc::new(AtomicU16::new(200));
    let scan = |State(answer): State<Arc<AtomicU16>>, form: Bytes| async move {
        assert!(form.starts_with(b"--"), "a form");
        let is_infected = form.windows(8).any(|part| part == b"infected");
        let status = StatusCode::from_u16(answer.load(Ordering::Relaxed)).unwrap();
        if is_infected && status == StatusCode::OK { StatusCode::NOT_ACCEPTABLE } else { status }
    };
    let url = serve(Router::new().route("/scan", post(scan)).with_state(answer.clone())).await;
    (format!("{url}/scan"), answer)
}

#[tokio::test]
async fn a_file_is_downloaded_after_the_scanner_has_accepted_it() {
    let (url, answer) = scanner().await;
    answer.store(503, Ordering::Relaxed);
    let app = TestApp::start_with(&[("FILE_SCAN_URL", url)]).await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"harmless").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);
    assert_eq!(sent["file_state"], "pending");
    let file = sent["file_url"].as_str().unwrap();
    assert_eq!(bob.client.get(file).await.expect(409)["error"], "FILE_NOT_READY");
    eventually("the scanner has refused to answer", || async {
        let upload = super::store::stored(&app, &upload).await?;
        (upload.get_i64("failed_checks").unwrap_or(0) > 0 || upload.get_i32("failed_checks").unwrap_or(0) > 0)
            .then_some(())
    })
    .await;
    bob.client.get(file).await.expect(409);

    answer.store(200, Ordering::Relaxed);
    super::store::check_now(&app, &upload).await;

    eventually("the file is ready", || async {
        (bob.messages(room).await.pop()?["file_state"] == "ready").then_some(())
    })
    .await;
    assert_eq!(store.follow(&bob, &sent).await.bytes().await.unwrap(), "harmless");
}

#[tokio::test]
async fn a_file_that_a_replica_with_a_scanner_has_seen_is_not_sent_unscanned() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"harmless").await;
    let seen = doc! {"$set": {"scan": true}};
    super::store::collection(&app).await.update_one(super::store::by_id(&upload), seen).await.unwrap();

    let sent = sends(&ann, room, &upload, None).await.expect(201);

    assert_eq!(sent["file_state"], "pending");
    assert_eq!(bob.client.get(sent["file_url"].as_str().unwrap()).await.expect(409)["error"], "FILE_NOT_READY");
    let (url, _) = scanner().await;
    let _with_scanner =
        crate::process::Process::start(&app.space, &app.mysql_url, &[("FILE_SCAN_URL", url)]).ready().await;
    eventually("the file is ready", || async {
        (bob.messages(room).await.pop()?["file_state"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_the_scanner_rejects_is_removed() {
    let (url, _) = scanner().await;
    let app = TestApp::start_with(&[("FILE_SCAN_URL", url)]).await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let mut stream = bob.subscribes(room, None).await;
    let upload = uploads(&ann, room, &store, b"infected").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);

    let edited = stream.next_named("message_edited").await.data;

    assert_eq!((&edited["file_state"], &edited["file_name"]), (&json!("rejected"), &json!("a.txt")));
    for person in [&ann, &bob] {
        assert_eq!(person.client.get(sent["file_url"].as_str().unwrap()).await.expect(403)["error"], "FILE_REJECTED");
    }
    store.gone(&key_of_message(&sent)).await;
    given_back(&app, ann.id).await;
}
