//! Personal data stays out of the log.

use axum::http::Method;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use serde_json::json;
use testkit::{LoggedProcess, eventually};

use crate::app::TestApp;

const NAME: &str = "표시-private";
const MESSAGE: &str = "private message";
const QUERY: &str = "private-query";
const EMAIL: &str = "private-mail@example.com";
const EVENT: &str = "private event";

#[tokio::test]
async fn no_log_line_has_personal_data_or_credentials() {
    let app = TestApp::start_with_events().await;
    let mut env = app.space.env(&app.mysql_url);
    env.push(("USER_SERVICE_URL", app.user_service.url()));
    // Otherwise the consumer group would give the events to this replica.
    app.server.stop().await;
    let process = LoggedProcess::start(env!("CARGO_BIN_EXE_friend-service"), env).await;
    for (id, name) in [(1, "ann-private"), (2, "bob-private"), (3, QUERY)] {
        app.user_service.add_user(id, name);
        app.user_service.set_field(id, "display_name", NAME.into());
    }
    let tokens = [(1, "ann-private"), (2, "bob-private")].map(|(id, name)| app.space.token(id, name));
    let [ann, bob] = tokens.each_ref().map(|token| process.client.with_token(token));

    ann.post("/friends/request", json!({"user_id_2": 2, "message": MESSAGE})).await.expect(201);
    ann.post("/friends/request", json!({"user_id_2": 2, "message": MESSAGE})).await.expect(400);
    ann.post("/friends/request", json!({"user_id_2": MESSAGE, "message": [MESSAGE]})).await.expect(422);
    bob.get("/friends/requests").await.expect(200);
    bob.put("/friends/status/1", json!({"action": MESSAGE})).await;
    bob.put("/friends/status/1", json!({"action": "accept"})).await.expect(200);
    bob.get("/friends/list").await.expect(200);
    ann.get(&format!("/friends/search?query={QUERY}")).await.expect(200);
    ann.get(&format!("/friends/list?cursor={EMAIL}")).await;
    let malformed = ann.request(Method::POST, "/friends/request").header("content-type", "application/json");
    ann.send(malformed.body(format!("{{\"message\": \"{MESSAGE}\", {EMAIL}"))).await.expect(422);
    // user-service answers with a profile that cannot be read, and other services publish such events.
    app.user_service.set_field(3, "is_online", NAME.into());
    app.user_service.set_field(3, "last_seen_at", EMAIL.into());
    ann.get(&format!("/friends/search?query={QUERY}")).await.expect(503);
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &prometheus::Registry::new()).unwrap();
    for payload in [
        json!({"event_type": "UserRegistered", "user_id": EMAIL, "email": EMAIL}).to_string(),
        json!({"event_type": "UserProfileUpdated", "user_id": {"of": EVENT}}).to_string(),
        json!({"event_type": "UserRegistered", "timestamp": EVENT}).to_string(),
        json!(EVENT).to_string(),
    ] {
        let (topic, key, headers) = (config.topics.user_events.clone(), "1".to_owned(), Vec::new());
        producer.send(Record { topic, key, payload: payload.into(), headers }).unwrap().await.unwrap();
    }
    eventually("the events are dead letters", || async {
        (process.log().matches("goes to the dead letters").count() >= 3).then_some(())
    })
    .await;

    process.assert_not_logged(&[NAME, "ann-private", "bob-private", MESSAGE, QUERY, EMAIL, EVENT]);
    process.assert_not_logged(&tokens.each_ref().map(String::as_str));
    assert!(process.log().contains("\"route\":\"/friends/request\""), "the log has the requests");
}
