//! The cost of many streams and rooms.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt;

use crate::app::{TestApp, mongo_database};

/// After this time, the feed of a room does not read its head again.
const SETTLED: Duration = Duration::from_secs(14);

/// The reads of heads by their rooms so far.
async fn reads_of_heads(app: &TestApp) -> i64 {
    let heads = mongo_database(&app.space).await.collection::<Document>("room_heads");
    let by_room = [doc! {"$indexStats": {}}, doc! {"$match": {"name": "_id_"}}];
    let index = heads.aggregate(by_room).await.unwrap().try_next().await.unwrap().unwrap();
    index.get_document("accesses").unwrap().get_i64("ops").unwrap()
}

#[tokio::test]
async fn an_idle_stream_does_not_make_its_replica_read_heads() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "first").await;
    let _stream = bob.subscribes(room, None).await;
    tokio::time::sleep(SETTLED).await;
    let before = reads_of_heads(&app).await;

    tokio::time::sleep(Duration::from_secs(6)).await;

    assert_eq!(reads_of_heads(&app).await, before);
}

#[tokio::test]
async fn streams_without_memory_for_windows_are_complete_and_in_order() {
    let app = TestApp::start_with(&[("STREAM_WINDOW_BYTES", "1".to_owned())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let mut stream = bob.subscribes(room, None).await;

    for n in 1..=20 {
        ann.sends(room, &n.to_string()).await;
    }

    for n in 1..=20 {
        let received = stream.next().await;
        assert_eq!((received.position(), received.data["content"].clone()), (n, n.to_string().into()));
    }
    let metrics = app.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"stream_window_bytes{service="chat-service"} 0"#));
}
