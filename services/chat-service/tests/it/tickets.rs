//! Tickets: a stream without a header.

use futures_util::future::join_all;
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::json;
use testkit::Sse;

use crate::app::TestApp;

async fn ticket(person: &crate::app::Person) -> String {
    let answer = person.client.post("/messages/stream/ticket", json!({})).await.expect(200);
    assert_eq!(answer["expires_in"], 30);
    answer["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream_of_either_kind_as_its_holder() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let replica = app.replica().await;
    let nobody = replica.client("");

    let tickets = [ticket(&bob).await, ticket(&bob).await];
    assert_ne!(tickets[0], tickets[1]);
    let paths = [format!("/messages/stream/{room}"), "/api/messages/stream".to_owned()];
    for (path, ticket) in paths.iter().zip(&tickets) {
        let mut stream = nobody.stream(&format!("{path}?ticket={ticket}&last_event_id="), None).await;
        let connected = stream.next().await;
        assert_eq!((connected.name.as_str(), &connected.data["user_id"]), ("connected", &json!(2)));
        assert_eq!(stream.next().await.name, "resync", "an empty id is no place");
        ann.says(room, "hi").await;
        assert_eq!(stream.next().await.data["content"], "hi");
        nobody.get(&format!("{path}?ticket={ticket}")).await.expect(401);
    }
    nobody.get("/messages/stream?ticket=nonsense").await.expect(401);
    nobody.get(&format!("/messages/{room}?ticket={}", ticket(&bob).await)).await.expect(401);
    let stranger = ticket(&app.person(3)).await;
    nobody.get(&format!("/messages/stream/{room}?ticket={stranger}")).await.expect(403);
}

#[tokio::test]
async fn of_those_who_use_a_ticket_at_once_one_gets_in() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/stream/{room}?ticket={}", ticket(&bob).await);
    let nobody = app.server.client("");

    let opened = join_all((0..8).map(|_| nobody.request(Method::GET, &path).send())).await;

    let let_in = opened.into_iter().map(Result::unwrap).filter(|answer| answer.status() == 200);
    assert_eq!(let_in.map(Sse::new).count(), 1);
}

#[tokio::test]
async fn a_ticket_ends_with_its_session_and_stands_in_redis_only_as_a_hash() {
    let app = TestApp::start().await;
    let bob = app.person(2);
    let ticket = ticket(&bob).await;
    let url = std::env::var("REDIS_URL").unwrap();
    let mut redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let prefix = app.server.platform().config.redis_prefix.clone();
    let keys: Vec<String> = redis.keys(format!("{prefix}chat:ticket:*")).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(!keys[0].contains(&ticket));
    let seconds: i64 = redis.ttl(&keys[0]).await.unwrap();
    assert!((1..=30).contains(&seconds));

    let held: serde_json::Value = serde_json::from_str(&redis.get::<_, String>(&keys[0]).await.unwrap()).unwrap();
    let revoked = format!("{prefix}session:revoked:{}", held["session"].as_str().unwrap());
    let _: () = redis.set_ex(revoked, "1", 60).await.unwrap();
    // On a replica that has not remembered the session.
    let replica = app.replica().await;
    replica.client("").get(&format!("/messages/stream?ticket={ticket}")).await.expect(401);
}
