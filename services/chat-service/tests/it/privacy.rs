//! The text of messages, names and tokens stay out of the log.

use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use serde_json::json;
use testkit::{Client, LoggedProcess, eventually};

use crate::app::{TestApp, mongo_database};

const CONTENT: &str = "private text";
const EDITED: &str = "private edit";
const GROUP: &str = "우리-private";
const QUERY: &str = "private-query";
const REPEAT: &str = "private-client-id";
const EMAIL: &str = "private-mail@example.com";
const EVENT: &str = "private event";
const PRIVATE: [&str; 7] = [CONTENT, EDITED, GROUP, QUERY, REPEAT, EMAIL, EVENT];

/// Starts a replica in a process of its own.
async fn process(app: &TestApp) -> LoggedProcess {
    LoggedProcess::start(env!("CARGO_BIN_EXE_chat-service"), app.environment()).await
}

/// Sends, edits, repeats, searches and reads, and sends requests that are refused.
async fn live(ann: &Client, bob: &Client) -> String {
    let room = ann.get("/chat-rooms/check/2").await.expect(200)["id"].as_i64().unwrap();
    let message = json!({"content": CONTENT, "client_message_id": REPEAT});
    let id = ann.post(&format!("/messages/{room}"), message.clone()).await.expect(201)["id"].take();
    ann.post(&format!("/messages/{room}"), message).await.expect(200);
    let id = id.as_str().unwrap();
    ann.put(&format!("/messages/{id}"), json!({"content": EDITED})).await.expect(200);
    bob.put(&format!("/messages/{id}"), json!({"content": EDITED})).await.expect(403);
    ann.post(&format!("/messages/{room}"), json!({"content": [CONTENT], "client_message_id": EMAIL.repeat(9)}))
        .await
        .expect(422);
    let malformed =
        ann.request(reqwest::Method::POST, &format!("/messages/{room}")).header("content-type", "application/json");
    ann.send(malformed.body(format!("{{\"content\": \"{CONTENT}\", {EMAIL}"))).await.expect(422);
    ann.get(&format!("/messages/{room}/search?q={QUERY}")).await;
    ann.get(&format!("/messages/search?q={QUERY}")).await;
    ann.get(&format!("/messages/{room}?cursor={EMAIL}")).await;
    ann.post("/chat-rooms", json!({"name": GROUP, "participant_ids": [2, 3]})).await.expect(201);
    ann.post("/chat-rooms", json!({"name": {"of": GROUP}, "participant_ids": [EMAIL]})).await.expect(422);
    bob.post("/messages/read", json!({"room_id": room})).await.expect(200);
    bob.get("/chat-rooms").await.expect(200);
    bob.post(&format!("/messages/{room}/typing"), json!({})).await;
    let ticket = ann.post("/messages/stream/ticket", json!({})).await.expect(200)["ticket"].take();
    let ticket = ticket.as_str().unwrap().to_owned();
    drop(ann.with_token("").stream(&format!("/messages/stream/{room}?ticket={ticket}"), None).await);
    drop(bob.stream(&format!("/messages/stream/{room}"), None).await);
    ticket
}

#[tokio::test]
async fn no_log_line_has_the_text_of_a_message_a_name_or_credentials() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let process = process(&app).await;
    let tokens = [(1, "ann-private"), (2, "bob-private")].map(|(id, name)| app.space.token(id, name));
    let [ann, bob] = tokens.each_ref().map(|token| process.client.with_token(token));

    let ticket = live(&ann, &bob).await;
    let config = &app.server.platform().config.kafka;
    let producer = Producer::new(config, &prometheus::Registry::new()).unwrap();
    let unreadable = [
        json!({"event_type": "UserRegistered", "user_id": EMAIL, "email": EMAIL}).to_string(),
        json!({"event_type": "UserOnlineStatusChanged", "user_id": {"of": EVENT}}).to_string(),
        json!({"event_type": "UserRegistered", "timestamp": EVENT}).to_string(),
        json!(EVENT).to_string(),
    ];
    // The process reads what is published after it has found the topic.
    eventually("the events are skipped", || async {
        for payload in &unreadable {
            let (topic, key, headers) = (config.topics.user_events.clone(), "1".to_owned(), Vec::new());
            producer.send(Record { topic, key, payload: payload.clone().into(), headers }).unwrap().await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let log = process.log();
        (log.contains("skipping an unreadable event") && log.matches("skipped a record").count() >= 2).then_some(())
    })
    .await;

    process.assert_not_logged(&PRIVATE);
    process.assert_not_logged(&["ann-private", "bob-private", &ticket, &tokens[0], &tokens[1]]);
    assert!(process.log().contains("\"route\":\"/messages/{id}\""), "the log has the requests");
}

#[tokio::test]
async fn an_error_of_the_database_is_logged_without_the_values_of_its_documents() {
    let app = TestApp::start().await;
    let process = process(&app).await;
    let ann = process.client.with_token(&app.space.token(1, "ann"));
    let room = ann.get("/chat-rooms/check/2").await.expect(200)["id"].as_i64().unwrap();
    ann.post(&format!("/messages/{room}"), json!({"content": CONTENT})).await.expect(201);
    let unique = IndexOptions::builder().unique(true).name("one_content".to_owned()).build();
    let index = IndexModel::builder().keys(doc! {"content": 1}).options(unique).build();
    mongo_database(&app.space).await.collection::<Document>("messages").create_index(index).await.unwrap();

    ann.post(&format!("/messages/{room}"), json!({"content": CONTENT})).await.expect(503);

    assert!(process.log().contains("one_content"), "the log names the index");
    process.assert_not_logged(&PRIVATE);
}
