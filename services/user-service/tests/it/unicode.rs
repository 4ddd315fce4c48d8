//! Names and texts of accounts in Unicode.

use serde_json::{Value, json};
use testkit::{Client, eventually};

use crate::app::{TestApp, registration};

/// Texts of characters without a glyph.
const BLANK: [&str; 7] = [" \t", "\u{200b}", "\u{feff}", "\u{2060}", "\u{2800}", "\u{3164}", "\u{ad}\u{200d}"];

#[tokio::test]
async fn a_name_or_status_that_shows_nothing_is_null() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    for (n, blank) in BLANK.into_iter().enumerate() {
        ann.client.put("/profile/me", json!({"display_name": "앤", "status_message": "회의 중"})).await.expect(200);
        let cleared = json!({"display_name": blank, "status_message": blank});
        let profile = ann.client.put("/profile/me", cleared).await.expect(200);
        assert_eq!((&profile["display_name"], &profile["status_message"]), (&Value::Null, &Value::Null), "{blank:?}");
        let mut new = registration(&format!("user{n}"));
        new["display_name"] = json!(blank);
        assert_eq!(app.anonymous().post("/auth/register", new).await.expect(201)["display_name"], Value::Null);
    }
}

#[tokio::test]
async fn a_null_character_is_refused_everywhere() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;

    for field in ["display_name", "status_message", "profile_image_url"] {
        for text in ["\u{0}", "https://a.io/\u{0}"] {
            ann.client.put("/profile/me", json!({field: text})).await.expect(422);
        }
    }
    for field in ["email", "username", "password", "display_name"] {
        let mut new = registration("bob");
        new[field] = json!(format!("{}\u{0}", new[field].as_str().unwrap_or("Bob")));
        app.anonymous().post("/auth/register", new).await.expect(422);
    }
    let login = json!({"email": "ann@example.com", "password": "Passw0rd!\u{0}"});
    app.anonymous().post("/auth/login/json", login).await.expect(422);
    ann.client.get("/users/search?query=a%00").await.expect(422);
}

#[tokio::test]
async fn a_display_name_is_stored_as_it_was_sent() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let decomposed = "\u{1100}\u{1175}\u{11b7}";

    let profile = ann.client.put("/profile/me", json!({"display_name": decomposed})).await.expect(200);

    assert_eq!(profile["display_name"], decomposed);
}

#[tokio::test]
async fn a_password_is_accepted_in_every_form_of_unicode() {
    let app = TestApp::start().await;
    let mut new = registration("ann");
    new["password"] = json!("비밀번호é-1234!");
    app.anonymous().post("/auth/register", new).await.expect(201);
    let decomposed = "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}\u{1107}\u{1165}\u{11ab}\u{1112}\u{1169}e\u{301}-1234!";

    let login = json!({"email": "ann@example.com", "password": decomposed});
    app.anonymous().post("/auth/login/json", login).await.expect(200);
}

/// The usernames of the users whom a search finds.
async fn found(client: &Client, query: &str) -> Vec<String> {
    let request = client.request(reqwest::Method::GET, "/users/search").query(&[("query", query)]);
    let body = client.send(request).await.expect(200);
    body["users"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_search_finds_every_spelling_of_a_name() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    for (username, name) in [
        ("one", "Straße"),
        ("two", "ΟΔΟΣ"),
        ("three", "οδος"),
        ("four", "İstanbul"),
        ("five", "\u{1112}\u{1161}\u{11ab}글"),
        ("six", "e\u{301}clair"),
    ] {
        let mut new = registration(username);
        new["display_name"] = json!(name);
        app.anonymous().post("/auth/register", new).await.expect(201);
    }

    for (query, expected) in [
        ("STRASSE", &["one"][..]),
        ("straße", &["one"]),
        ("Οδος", &["two", "three"]),
        ("οδοσ", &["two", "three"]),
        ("istanbul", &["four"]),
        ("İSTANBUL", &["four"]),
        ("I\u{307}stan", &["four"]),
        ("한글", &["five"]),
        ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", &["five"]),
        ("\u{c9}CLAIR", &["six"]),
        ("  éclair\t", &["six"]),
    ] {
        assert_eq!(found(&ann.client, query).await, expected, "{query}");
    }
    for blank in ["%20", "%E3%85%A4"] {
        ann.client.get(&format!("/users/search?query={blank}")).await.expect(422);
    }
}

#[tokio::test]
async fn names_that_an_earlier_version_indexed_in_another_form_are_indexed_again_at_the_next_start() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    ann.client.put("/profile/me", json!({"display_name": "e\u{301}clair"})).await.expect(200);
    let bob = app.person("bob").await;
    app.person("carol").await;
    app.execute("DELETE FROM user_name_suffixes").await;
    app.execute("UPDATE user_indexed_names SET form = 0").await;

    let replica = app.replica().await;

    let client = replica.client(bob.client.token());
    eventually("the name is indexed again", || async { (found(&client, "ÉCLAIR").await == ["ann"]).then_some(()) })
        .await;
    assert!(found(&client, "carol").await.is_empty(), "the form of ASCII is the same, so it is not indexed again");
}
