//! Writes to a store that answers all but one of them.

use futures_util::future::join_all;
use testkit::FaultyLink;

use crate::app::TestApp;
use crate::person::read_log;
use crate::writer::mongodb_address;

const SEED: u64 = 20_261_126;

/// A service whose link to MongoDB holds what [`FaultyLink::hold`] names.
async fn start() -> (FaultyLink, TestApp) {
    let link = FaultyLink::to(mongodb_address(), SEED, 1).await;
    let mongo_url = format!("mongodb://{}/?replicaSet=rs0&directConnection=true", link.address);
    let app = TestApp::start_with(&[("MONGO_URL", mongo_url)]).await;
    (link, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_the_store_does_not_answer_stands_alone() {
    let (link, app) = start().await;
    let (ann, bob, room) = app.direct_room().await;
    let (cat, other_room) = (app.person(3), app.person(3).room_with(4).await);
    ann.sends(room, "first").await;
    link.hold("a send without an answer");

    let before = join_all((0..15).map(|_| ann.tries_to_send(room, "sent")));
    let held = ann.tries_to_send(room, "a send without an answer");
    let after = join_all((0..15).map(|_| ann.tries_to_send(room, "sent")));
    let elsewhere = join_all((0..30).map(|_| cat.tries_to_send(other_room, "sent")));
    let (before, held, after, elsewhere) = tokio::join!(before, held, after, elsewhere);

    assert_eq!(held.status, 503, "{}", held.text);
    assert!(held.header("retry-after").is_some());
    let others: Vec<u16> = before.iter().chain(&after).chain(&elsewhere).map(|answer| answer.status).collect();
    assert!(others.iter().all(|status| *status == 201), "{others:?}");
    assert_eq!(read_log(&bob.client, room).await.len(), 31);
}
