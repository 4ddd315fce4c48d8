//! Names that look like the username of another user.

use serde_json::{Value, json};
use testkit::{Answer, eventually};

use crate::app::{TestApp, registration};
use crate::emails::insert_as_original;
use crate::register::race_for_one;

const USERNAME: &str = "Username looks like the username of another user";
const DISPLAY_NAME: &str = "Display name looks like the username of another user";

async fn register(app: &TestApp, username: &str, display_name: Option<&str>) -> Answer {
    let mut new = registration(username);
    new["display_name"] = display_name.into();
    app.anonymous().post("/auth/register", new).await
}

async fn form(app: &TestApp, user: i64) -> Option<String> {
    let form = sqlx::query_scalar("SELECT username_skeleton FROM users WHERE id = ?");
    form.bind(user).fetch_one(&app.pool).await.unwrap()
}

#[tokio::test]
async fn a_username_that_looks_like_another_one_is_refused() {
    let app = TestApp::start().await;
    for name in ["carol", "Jim", "bob_1", "user0"] {
        register(&app, name, None).await.expect(201);
    }

    for name in ["caro1", "CaroI", "CAR0L", "jirn", "Jirn", "bob_l", "bob_I", "userO"] {
        let refused = register(&app, name, None).await.expect(409);
        assert_eq!((&refused["error"], &refused["message"]), (&json!("resource_conflict"), &json!(USERNAME)), "{name}");
    }
    assert_eq!(register(&app, "CAROL", None).await.expect(409)["message"], "Email already registered");
    let mut taken = registration("other");
    taken["username"] = "CAROL".into();
    assert_eq!(app.anonymous().post("/auth/register", taken).await.expect(409)["message"], "Username already taken");
    for name in ["carol92", "carole", "bob_2", "bob-1", "tim"] {
        register(&app, name, None).await.expect(201);
    }
}

#[tokio::test]
async fn names_that_look_alike_in_another_case_are_refused_in_both_orders() {
    let app = TestApp::start().await;
    for name in ["Isaac", "irene", "JIM", "torn"] {
        register(&app, name, None).await.expect(201);
    }
    let ann = app.person("ann").await;
    let change = async |name: &str| ann.client.put("/profile/me", json!({"display_name": name})).await;

    // All letters are Cyrillic. A word that mixes scripts is refused before it is compared.
    for name in ["\u{456}\u{455}\u{430}\u{430}\u{441}", "\u{406}\u{455}\u{430}\u{430}\u{441}"] {
        assert_eq!(change(name).await.expect(409)["message"], DISPLAY_NAME, "{name}");
    }
    for name in ["jirn", "JIRN", "TOM"] {
        assert_eq!(register(&app, name, None).await.expect(409)["message"], USERNAME, "{name}");
    }
    for name in ["Isaac", "Irène", "Torn"] {
        change(name).await.expect(200);
    }
    for name in ["lrene", "jin"] {
        register(&app, name, None).await.expect(201);
    }
}

#[tokio::test]
async fn of_concurrent_registrations_of_usernames_that_look_alike_one_succeeds() {
    let app = TestApp::start().await;
    let names = ["carol", "caro1", "CaroI", "car0l", "CAR0L"].iter().cycle().take(20);
    let registrations = names.enumerate().map(|(n, name)| {
        let mut new = registration(name);
        new["email"] = format!("carol{n}@example.com").into();
        new
    });

    race_for_one(&app, registrations).await;
}

#[tokio::test]
async fn accounts_of_an_original_that_look_alike_stay_and_refuse_a_third_one() {
    let app = TestApp::start().await;
    app.register("ann").await;
    let older = insert_as_original(&app, "carol@example.com", "carol").await;
    let newer = insert_as_original(&app, "caro1@example.com", "caro1").await;
    let last = insert_as_original(&app, "dave@example.com", "dave").await;

    eventually("the forms are filled in", || async { form(&app, last).await }).await;

    assert_eq!((form(&app, older).await.as_deref(), form(&app, newer).await), (Some("carol"), None));
    let (carol, caro1) = (app.log_in("carol").await, app.log_in("caro1").await);
    assert_eq!((carol.id, caro1.id), (older, newer));
    assert_eq!(register(&app, "CaroI", None).await.expect(409)["message"], USERNAME);
    // Each has its own username as a display name.
    for (person, name) in [(&carol, "Carol"), (&caro1, "Caro1")] {
        person.client.put("/profile/me", json!({"display_name": name})).await.expect(200);
    }
}

#[tokio::test]
async fn a_display_name_that_imitates_another_username_is_refused() {
    let app = TestApp::start().await;
    let paypal = app.person("paypal").await;
    let ann = app.person("ann").await;
    let change =
        async |name: &str| ann.client.put("/profile/me", json!({"display_name": name, "status_message": "x"})).await;

    for name in ["PaypaI", "paypa1", "ｐａｙｐａｌ", "\u{440}\u{430}\u{443}\u{440}\u{430}\u{4cf}"] {
        assert_eq!(change(name).await.expect(409)["message"], DISPLAY_NAME, "{name}");
    }
    assert_eq!(register(&app, "bob", Some("paypa1")).await.expect(409)["message"], DISPLAY_NAME);
    assert_eq!(ann.client.get("/profile/me").await.expect(200)["status_message"], Value::Null, "nothing was changed");

    for name in ["Paypal", "PAYPAL", "paypal2", "Pay Pal", "Ann", "4nn", "김민준"] {
        assert_eq!(change(name).await.expect(200)["display_name"], name);
    }
    paypal.client.put("/profile/me", json!({"display_name": "PaypaI"})).await.expect(200);
    register(&app, "bob", Some("Paypal")).await.expect(201);
}
