//! The cost of many streams and rooms.

use std::time::Duration;

use bson::{Document, doc};

use crate::app::{TestApp, mongo_database};

/// After this time, the feed of a room does not read its head again.
const SETTLED: Duration = Duration::from_secs(14);

/// The queries of heads so far.
async fn reads_of_heads(app: &TestApp) -> i64 {
    let database = mongo_database(&app.space).await;
    let top = database.client().database("admin").run_command(doc! {"top": 1}).await.unwrap();
    let heads: &Document =
        top.get_document("totals").unwrap().get_document(format!("{}.room_heads", database.name())).unwrap();
    i64::from(heads.get_document("queries").unwrap().get_i32("count").unwrap())
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
