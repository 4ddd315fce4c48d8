//! Tickets: opening a stream without a header.

use futures_util::future::join_all;
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::Sse;

use crate::app::TestApp;
use crate::person::Person;

async fn ticket(person: &Person) -> String {
    let answer = person.client.post("/messages/stream/ticket", json!({})).await.expect(200);
    assert_eq!(answer["expires_in"], 30);
    answer["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream_of_either_kind_as_its_holder() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let anonymous = replica.client("");

    let tickets = [ticket(&bob).await, ticket(&bob).await];
    assert_ne!(tickets[0], tickets[1]);
    let paths = [format!("/messages/stream/{room}"), "/api/messages/stream".to_owned()];
    for (path, ticket) in paths.iter().zip(&tickets) {
        let mut stream = anonymous.stream(&format!("{path}?ticket={ticket}&last_event_id="), None).await;
        let connected = stream.next().await;
        assert_eq!((connected.name.as_str(), &connected.data["user_id"]), ("connected", &json!(2)));
        assert_eq!(stream.next().await.name, "resync", "an empty id is no cursor");
        ann.sends(room, "hi").await;
        assert_eq!(stream.next().await.data["content"], "hi");
        anonymous.get(&format!("{path}?ticket={ticket}")).await.expect(401);
    }
    anonymous.get("/messages/stream?ticket=nonsense").await.expect(401);
    anonymous.get(&format!("/messages/{room}?ticket={}", ticket(&bob).await)).await.expect(401);
    let ticket_of_stranger = ticket(&app.person(3)).await;
    anonymous.get(&format!("/messages/stream/{room}?ticket={ticket_of_stranger}")).await.expect(403);
}

#[tokio::test]
async fn concurrent_uses_of_a_ticket_open_one_stream() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;
    let path = format!("/messages/stream/{room}?ticket={}", ticket(&bob).await);
    let anonymous = app.anonymous();

    let responses = join_all((0..8).map(|_| anonymous.request(Method::GET, &path).send())).await;

    let opened = responses.into_iter().map(Result::unwrap).filter(|response| response.status() == 200);
    assert_eq!(opened.map(Sse::new).count(), 1);
}

#[tokio::test]
async fn a_ticket_ends_with_its_session_and_redis_has_only_its_hash() {
    let app = TestApp::start().await;
    let bob = app.person(2);
    let ticket = ticket(&bob).await;
    let mut redis = app.redis().await;
    let keys: Vec<String> = redis.keys(app.redis_key("chat:ticket:*")).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(!keys[0].contains(&ticket));
    let seconds: i64 = redis.ttl(&keys[0]).await.unwrap();
    assert!((1..=30).contains(&seconds));

    let stored: Value = serde_json::from_str(&redis.get::<_, String>(&keys[0]).await.unwrap()).unwrap();
    app.revoke_session(stored["session"].as_str().unwrap()).await;
    // The first replica may have cached the session as valid.
    let replica = app.replica().await;
    replica.client("").get(&format!("/messages/stream?ticket={ticket}")).await.expect(401);
}
