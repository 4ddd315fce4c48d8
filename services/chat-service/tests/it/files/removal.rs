//! Objects that no message has are removed, and their bytes count no longer.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::Value;
use testkit::eventually;

use super::store::{
    Store, URL, age, collection, counted, given_back, key_of_message, key_of_upload, requests, sends, stored, uploads,
};
use crate::app::{TestApp, mongo_database};
use crate::person::message_path;

/// Lets the sweep look at an upload now.
async fn make_due(app: &TestApp, upload: &Value) {
    let id = ObjectId::parse_str(upload["upload_id"].as_str().unwrap()).unwrap();
    let due = doc! {"$set": {"due": DateTime::from_millis(1)}};
    collection(app).await.update_one(doc! {"_id": id}, due).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_not_sent_within_a_day_is_removed() {
    let app = TestApp::start().await;
    let _replica = app.replica().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let (old, new) = (uploads(&ann, room, &store, b"old").await, uploads(&ann, room, &store, b"newer").await);
    let never_stored = requests(&ann, room, b"never").await;
    assert_eq!(counted(&app, ann.id).await, 13);

    age(&app, &old).await;
    age(&app, &never_stored).await;

    store.gone(&key_of_upload(&old)).await;
    eventually("the bytes are given back once", || async { (counted(&app, ann.id).await == 5).then_some(()) }).await;
    for upload in [&old, &never_stored] {
        make_due(&app, upload).await;
        eventually("the upload is deleted", || async { stored(&app, upload).await.is_none().then_some(()) }).await;
    }
    assert_eq!(counted(&app, ann.id).await, 5);
    sends(&ann, room, &new, None).await.expect(201);
}

#[tokio::test]
async fn the_object_of_a_deleted_message_is_removed() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"regretted").await;
    let sent = sends(&ann, room, &upload, Some("c-1")).await.expect(201);
    assert!(store.exists(&key_of_message(&sent)).await);

    ann.client.delete(&message_path(&sent)).await.expect(200);

    bob.client.get(sent["file_url"].as_str().unwrap()).await.expect(404);
    store.gone(&key_of_message(&sent)).await;
    store.gone(&key_of_upload(&upload)).await;
    given_back(&app, ann.id).await;
    let repeated = sends(&ann, room, &upload, Some("c-1")).await.expect(200);
    assert_eq!((&repeated["id"], &repeated["file_url"]), (&sent["id"], &Value::Null));
    // The request of the upload is still valid.
    store.put(&upload, b"regretted".to_vec()).await.unwrap();
    assert_eq!(sends(&ann, room, &upload, None).await.expect(404)["error"], "UPLOAD_NOT_FOUND");
    make_due(&app, &upload).await;
    store.gone(&key_of_upload(&upload)).await;
    eventually("the upload is deleted", || async { stored(&app, &upload).await.is_none().then_some(()) }).await;
    assert_eq!(counted(&app, ann.id).await, 0);
}

#[tokio::test]
async fn a_message_that_the_original_deletes_loses_its_object() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"regretted").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);

    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    let id = ObjectId::parse_str(sent["id"].as_str().unwrap()).unwrap();
    let deleted = doc! {"$set": {"is_deleted": true, "deleted_at": DateTime::now(), "deleted_by": ann.id}};
    messages.update_one(doc! {"_id": id}, deleted).await.unwrap();

    eventually("the deletion is followed", || async { bob.messages(room).await.is_empty().then_some(()) }).await;
    eventually("the object is removed", || async {
        bob.messages(room).await;
        (!store.exists(&key_of_message(&sent)).await).then_some(())
    })
    .await;
    given_back(&app, ann.id).await;
}

#[tokio::test]
async fn the_objects_of_old_messages_are_removed_with_them() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"old").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);
    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    let aged = vec![doc! {"$set": {"created_at": {"$subtract": ["$created_at", 3 * 24 * 3_600_000_i64]}}}];
    messages.update_many(doc! {}, aged).await.unwrap();

    let settings = [&app.environment()[..], &[("HISTORY_RETENTION_DAYS", "2".to_owned())]].concat();
    let app = TestApp::start_in(app.space, app.mysql_url, &settings).await;

    store.gone(&key_of_message(&sent)).await;
    given_back(&app, ann.id).await;
}

#[tokio::test]
async fn an_object_is_removed_as_soon_as_the_store_answers_again() {
    let closed = format!("http://127.0.0.1:{}", crate::process::free_port());
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, b"regretted").await;
    let sent = sends(&ann, room, &upload, None).await.expect(201);
    app.server.stop().await;

    let without_store = [&app.environment()[..], &[(URL, closed)]].concat();
    let settings = app.environment();
    let app = TestApp::start_in(app.space, app.mysql_url, &without_store).await;
    app.person(ann.id).client.delete(&message_path(&sent)).await.expect(200);
    eventually("the sweep has tried", || async {
        let due = stored(&app, &upload).await?.get_datetime("due").ok()?.timestamp_millis();
        (due > 1_000_000).then_some(())
    })
    .await;
    assert!(store.exists(&key_of_message(&sent)).await);
    assert_eq!(counted(&app, ann.id).await, 9);
    app.server.stop().await;

    let app = TestApp::start_in(app.space, app.mysql_url, &settings).await;
    make_due(&app, &upload).await;
    store.gone(&key_of_message(&sent)).await;
    given_back(&app, ann.id).await;
}
