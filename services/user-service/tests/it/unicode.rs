//! Names and texts of accounts in Unicode.

use serde_json::{Value, json};

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
