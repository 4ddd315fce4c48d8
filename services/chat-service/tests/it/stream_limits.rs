//! How many streams a user opens, and when the clients of ended streams come back.

use reqwest::{Method, Response};
use testkit::{early_in_a_minute, eventually};

use crate::app::TestApp;
use crate::person::Person;

/// The answer to a stream, whose events are not read.
async fn open(person: &Person, path: &str) -> Response {
    person.client.request(Method::GET, path).send().await.unwrap()
}

#[tokio::test]
async fn a_user_has_twenty_streams_at_a_replica() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let paths = [format!("/messages/stream/{room}"), "/messages/stream".to_owned()];
    let mut streams = Vec::new();
    for path in paths.iter().cycle().take(20) {
        let stream = open(&ann, path).await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }

    for path in &paths {
        let refused = open(&ann, path).await;
        assert_eq!(refused.status(), 429);
        assert!(refused.headers().contains_key("retry-after"));
    }
    assert_eq!(open(&bob, &paths[0]).await.status(), 200);
    streams.pop();
    eventually("another stream opens", async || (open(&ann, &paths[1]).await.status() == 200).then_some(())).await;
}

#[tokio::test]
async fn each_stream_tells_its_client_another_time_to_come_back() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;
    let mut times: Vec<u64> = Vec::new();
    for _ in 0..8 {
        let mut stream = open(&bob, &format!("/messages/stream/{room}")).await;
        let mut text = String::new();
        while !text.contains("\n\n") {
            text += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
        let retry = text.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
        times.push(retry.parse().unwrap());
    }

    assert!(times.iter().all(|time| (1_000..=5_000).contains(time)), "{times:?} ms");
    assert!(times.iter().any(|time| *time != times[0]), "{times:?} ms");
}

#[tokio::test]
async fn the_opening_of_streams_has_a_budget() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_CHANGES", "3".into())]).await;
    let (ann, bob, room) = app.direct_room().await;
    early_in_a_minute().await;

    for (person, path) in [(&ann, format!("/messages/stream/{room}")), (&bob, "/messages/stream".to_owned())] {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(open(person, &path).await.status().as_u16());
        }
        assert_eq!(statuses, [200, 200, 200, 429], "{path}");
    }
}
