//! Texts of messages and groups in Unicode.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::person::{message_path, pluck};

/// Texts of characters without a glyph.
const BLANK: [&str; 7] = [" \t", "\u{200b}", "\u{feff}", "\u{2060}", "\u{2800}", "\u{3164}", "\u{ad}\u{200d}"];

#[tokio::test]
async fn a_message_that_shows_nothing_is_refused_and_every_other_is_stored_as_it_was_sent() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let sent = ann.sends(room, "\u{1112}\u{1161}\u{11ab} \u{200b}e\u{301} ").await;

    for blank in BLANK {
        assert_eq!(ann.tries_to_send(room, blank).await.expect(400)["error"], "INVALID_INPUT", "{blank:?}");
        ann.client.put(&message_path(&sent), json!({"content": blank})).await.expect(400);
    }
    assert_eq!(sent["content"], "\u{1112}\u{1161}\u{11ab} \u{200b}e\u{301} ");
    assert_eq!(ann.messages(room).await[0]["content"], sent["content"]);
}

#[tokio::test]
async fn a_null_character_is_refused_everywhere() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let sent = ann.sends(room, "first").await;

    ann.tries_to_send(room, "a\u{0}b").await.expect(422);
    ann.client.post("/messages", json!({"room_id": room, "content": "\u{0}"})).await.expect(422);
    ann.client.put(&message_path(&sent), json!({"content": "a\u{0}"})).await.expect(422);
    let repeat = json!({"content": "a", "client_message_id": "\u{0}"});
    ann.client.post(&format!("/messages/{room}"), repeat).await.expect(422);
    ann.client.post("/chat-rooms", json!({"name": "a\u{0}", "participant_ids": [2, 3]})).await.expect(422);
    ann.client.get("/messages/search?q=a%00").await.expect(422);
    assert_eq!(ann.messages(room).await[0]["content"], "first");
}

#[tokio::test]
async fn the_name_of_a_group_that_shows_nothing_is_null_and_none_reverses_the_text() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let open =
        async |name: &str| ann.client.post("/chat-rooms", json!({"name": name, "participant_ids": [2, 3]})).await;

    for blank in BLANK {
        assert_eq!(open(blank).await.expect(201)["name"], Value::Null, "{blank:?}");
    }
    for reversing in ["\u{202e}puorg", "a\u{2067}b", "\u{202a}\u{202c}"] {
        open(reversing).await.expect(422);
    }
    assert_eq!(open(" \u{1100}\u{1161} ").await.expect(201)["name"], "\u{1100}\u{1161}");
}

#[tokio::test]
async fn a_search_finds_every_spelling_of_a_text() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    for content in ["Die Straße", "ΟΔΟΣ", "οδος", "İstanbul", "\u{1112}\u{1161}\u{11ab}글", "e\u{301}clair", "ﬁn"]
    {
        ann.sends(room, content).await;
    }

    for (q, expected) in [
        ("STRASSE", &["Die Straße"][..]),
        ("die strasse", &["Die Straße"]),
        ("Οδος", &["οδος", "ΟΔΟΣ"]),
        ("οδοσ", &["οδος", "ΟΔΟΣ"]),
        ("istanbul", &["İstanbul"]),
        ("İSTANBUL", &["İstanbul"]),
        ("I\u{307}stanbul", &["İstanbul"]),
        ("한글", &["\u{1112}\u{1161}\u{11ab}글"]),
        ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", &["\u{1112}\u{1161}\u{11ab}글"]),
        ("\u{c9}CLAIR", &["e\u{301}clair"]),
        ("  éclair\t", &["e\u{301}clair"]),
        ("FIN", &["ﬁn"]),
        ("ıstanbul", &[]),
    ] {
        let request = ann.client.request(reqwest::Method::GET, "/messages/search").query(&[("q", q)]);
        let found = ann.client.send(request).await.expect(200);
        assert_eq!(pluck(found["messages"].as_array().unwrap(), "content"), expected, "{q}");
    }
    for blank in ["%20", "%E3%85%A4"] {
        ann.client.get(&format!("/messages/search?q={blank}")).await.expect(422);
    }
}
