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
async fn an_idle_stream_does_not_make_its_replica_read_heads_and_learns_of_changes() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "first").await;
    let replica = app.replica().await;
    let mut stream = app.person_at(&replica, bob.id).subscribes(room, None).await;
    tokio::time::sleep(SETTLED).await;
    let before = reads_of_heads(&app).await;

    tokio::time::sleep(Duration::from_secs(6)).await;

    assert_eq!(reads_of_heads(&app).await, before);
    // The topics do not exist, so the replica finds the message by the change of the head.
    ann.sends(room, "second").await;
    assert_eq!(stream.next_named("new_message").await.data["content"], "second");
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

#[tokio::test]
async fn the_newest_events_of_a_room_count_as_many_bytes_as_they_weigh() {
    const MESSAGES: i64 = 5;
    const BYTES: i64 = 30_000;
    let app = TestApp::start_with(&[("MESSAGE_MAX_CHARS", "10000".to_owned())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let mut stream = bob.subscribes(room, None).await;

    for _ in 0..MESSAGES {
        ann.sends(room, &"가".repeat(10_000)).await;
        stream.next_named("new_message").await;
    }

    let metrics = app.anonymous().get("/metrics").await.text;
    let line = metrics.lines().find(|line| line.starts_with("stream_window_bytes{")).unwrap();
    let bytes: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((MESSAGES * BYTES..2 * MESSAGES * BYTES).contains(&bytes), "{bytes} bytes");
}
