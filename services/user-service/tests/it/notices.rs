//! Notices to the owners of accounts: one for each act, in the order of the acts, and none for a refused act.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::app::{PASSWORD, Person, TestApp};
use crate::second_factor::{code, enable, wrong_code};
use crate::sessions::refresh;

const NEW_PASSWORD: &str = "An0ther-passw0rd!";

/// Changes the password of a user, from a browser at 203.0.113.77.
async fn change_password(ann: &Person, from: &str, to: &str) -> Answer {
    let browser = ann.client.with_header("x-forwarded-for", "203.0.113.77").with_header("user-agent", "Browser/1");
    browser.put("/auth/password", json!({"current_password": from, "new_password": to})).await
}

async fn log_in_from(app: &TestApp, address: &str, password: &str) -> Answer {
    log_in_as("ann", app, address, password).await
}

async fn log_in_as(name: &str, app: &TestApp, address: &str, password: &str) -> Answer {
    let client = app.anonymous().with_header("x-forwarded-for", address);
    client.post("/auth/login/json", json!({"email": format!("{name}@example.com"), "password": password})).await
}

/// Changes the password as the last act, and returns the notices before it: notices of one user are in order.
async fn notices(app: &TestApp, ann: &Person) -> Vec<Value> {
    change_password(ann, PASSWORD, NEW_PASSWORD).await.expect(200);
    app.notices().expect("PasswordChanged", 1).await;
    let mut all = app.notices().all().await;
    assert_eq!(all.pop().unwrap()["event_type"], "PasswordChanged");
    for notice in &all {
        let text = notice.to_string();
        assert!(notice["user_id"] == ann.id && !text.contains("example.com") && !text.contains("eyJ"), "{text}");
    }
    all
}

fn types(notices: &[Value]) -> Vec<&str> {
    notices.iter().map(|notice| notice["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_login_from_a_network_that_is_new_to_the_account_is_noticed_once() {
    let app = TestApp::start_with_events(&[]).await;
    app.register("ann").await;
    app.register("bob").await;
    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'bob'").await;
    log_in_as("bob", &app, "203.0.113.3", PASSWORD).await.expect(403);
    let first = log_in_from(&app, "203.0.113.1", PASSWORD).await.expect(200);
    log_in_from(&app, "203.0.113.1", PASSWORD).await.expect(200);
    log_in_from(&app, "203.0.113.2", "Wr0ng-password!").await.expect(401);
    let same_network = (0..5).map(|n| format!("2001:db8::{n}")).collect::<Vec<_>>();
    for answer in join_all(same_network.iter().map(|address| log_in_from(&app, address, PASSWORD))).await {
        answer.expect(200);
    }
    app.execute("UPDATE user_login_networks SET last_login_at = NOW() - INTERVAL 31 DAY WHERE network LIKE '%.1'")
        .await;
    log_in_from(&app, "203.0.113.1", PASSWORD).await.expect(200);

    let client = app.server.client(first["access_token"].as_str().unwrap());
    let ann = Person { id: first["user_id"].as_i64().unwrap(), email: String::new(), client, token: first };
    let notices = notices(&app, &ann).await;

    assert_eq!(types(&notices), ["LoginFromNewNetwork"; 3]);
    let addresses: Vec<_> = notices.iter().map(|notice| notice["address"].as_str().unwrap()).collect();
    assert_eq!((addresses[0], addresses[2]), ("203.0.113.1", "203.0.113.1"));
    assert!(same_network.iter().any(|address| address.parse() == addresses[1].parse::<std::net::IpAddr>()));
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let current = sessions.as_array().unwrap();
    assert!(current.iter().any(|session| session["sid"] == notices[0]["session_id"]), "{sessions}");
}

#[tokio::test]
async fn a_changed_password_is_noticed_with_the_number_of_ended_sessions() {
    let app = TestApp::start_with_events(&[]).await;
    let ann = app.person("ann").await;
    app.log_in("ann").await;
    change_password(&ann, "Wr0ng-password!", NEW_PASSWORD).await.expect(400);
    change_password(&ann, PASSWORD, "short").await.expect(422);

    change_password(&ann, PASSWORD, NEW_PASSWORD).await.expect(200);
    change_password(&ann, NEW_PASSWORD, PASSWORD).await.expect(200);

    let changes = app.notices().expect("PasswordChanged", 2).await;
    assert_eq!(types(&app.notices().all().await), ["LoginFromNewNetwork", "PasswordChanged", "PasswordChanged"]);
    assert_eq!((&changes[0]["ended_sessions"], &changes[1]["ended_sessions"]), (&json!(1), &json!(0)));
    assert_eq!((&changes[0]["address"], &changes[0]["user_agent"]), (&json!("203.0.113.77"), &json!("Browser/1")));
    assert!(changes[0]["session_id"].is_string() && changes[0]["event_id"] != changes[1]["event_id"], "{changes:?}");
}

#[tokio::test]
async fn a_reused_refresh_token_is_noticed_once() {
    let app = TestApp::start_with_events(&[]).await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    refresh(&app, &second).await.expect(200);
    let stolen = json!({"refresh_token": ann.token["refresh_token"]});
    let thief = app.anonymous().with_header("x-forwarded-for", "198.51.100.9").with_header("user-agent", "Thief/1");

    for answer in join_all((0..4).map(|_| thief.post("/auth/refresh", stolen.clone()))).await {
        answer.expect(401);
    }
    thief.post("/auth/refresh", json!({"refresh_token": "unknown"})).await.expect(401);

    let ann = app.log_in("ann").await;
    let notices = notices(&app, &ann).await;
    assert_eq!(types(&notices), ["LoginFromNewNetwork", "RefreshTokenReused"]);
    assert_eq!(notices[0]["session_id"], notices[1]["session_id"]);
    assert_eq!((&notices[1]["address"], &notices[1]["user_agent"]), (&json!("198.51.100.9"), &json!("Thief/1")));
}

#[tokio::test]
async fn changes_of_the_second_factor_and_used_recovery_codes_are_noticed() {
    let app = TestApp::start_with_events(&[]).await;
    let ann = app.person("ann").await;
    let log_in = async |code: &str| {
        let login = json!({"email": "ann@example.com", "password": PASSWORD, "mfa_code": code});
        app.anonymous().post("/auth/login/json", login).await.status
    };
    let both = |code: &str| json!({"current_password": PASSWORD, "code": code});
    let act = async |client: &Client, act: &str, code: &str| client.post(&format!("/auth/mfa/{act}"), both(code)).await;

    let (secret, recovery) = enable(&ann).await;
    assert_eq!((log_in(&wrong_code(&secret)).await, log_in(&wrong_code(&secret)).await), (401, 401));
    act(&ann.client, "recovery-codes", &wrong_code(&secret)).await.expect(400);
    let renewed = act(&ann.client, "recovery-codes", &code(&secret, 30)).await.expect(200);
    let recovered: Vec<String> = serde_json::from_value(renewed["recovery_codes"].clone()).unwrap();
    assert_eq!((log_in(&recovered[0]).await, log_in(&recovered[0]).await), (200, 401));
    act(&ann.client, "disable", &recovery[0]).await.expect(400);
    act(&ann.client, "disable", &recovered[1]).await.expect(200);

    let notices = notices(&app, &ann).await;
    assert_eq!(
        types(&notices),
        [
            "LoginFromNewNetwork",
            "SecondFactorEnabled",
            "SecondFactorRefused",
            "RecoveryCodesRenewed",
            "RecoveryCodeUsed",
            "SecondFactorRefused",
            "SecondFactorDisabled",
        ],
        "further wrong codes are not noticed until a right one"
    );
    assert_eq!((&notices[4]["codes_left"], &notices[4]["session_id"]), (&json!(9), &Value::Null));
    assert_eq!(notices[6]["by_recovery_code"], true);
    assert_eq!(notices[1]["session_id"], notices[0]["session_id"]);
}
