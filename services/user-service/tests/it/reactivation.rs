//! A deactivation ends the sessions of an account for good.

use std::time::Duration;

use testkit::{SLACK, eventually};

use crate::app::{PASSWORD, TestApp};
use crate::login::original_token;
use crate::sessions::refresh;

const TOGGLE: &str = "UPDATE users SET is_active = FALSE WHERE username = 'ann';
                      UPDATE users SET is_active = TRUE WHERE username = 'ann'";

#[tokio::test]
async fn a_reactivation_revives_no_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let original = app.server.client(&original_token(&app, ann.id));
    original.get("/profile/me").await.expect(200);

    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'ann'").await;
    for client in [&ann.client, &original] {
        eventually("ann is refused", || async { (client.get("/profile/me").await.status == 401).then_some(()) }).await;
    }
    app.execute("UPDATE users SET is_active = TRUE WHERE username = 'ann'").await;

    let again = app.log_in("ann").await;
    // Longer than the synchronization of revocations and the cache of a replica take.
    tokio::time::sleep(Duration::from_secs(5)).await;
    again.client.get("/profile/me").await.expect(200);
    ann.client.get("/profile/me").await.expect(401);
    original.get("/profile/me").await.expect(401);
    refresh(&app, &ann.token).await.expect(401);
}

#[tokio::test]
async fn a_reactivation_at_once_revives_no_session() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let bob = app.person("bob").await;

    app.execute(TOGGLE).await;

    refresh(&app, &ann.token).await.expect(401);
    let again = app.log_in("ann").await;
    let started = std::time::Instant::now();
    eventually("ann is refused", || async { (ann.client.get("/profile/me").await.status == 401).then_some(()) }).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    assert_eq!(again.client.get("/auth/sessions").await.expect(200).as_array().map(Vec::len), Some(1));
    again.client.get("/profile/me").await.expect(200);
    bob.client.get("/profile/me").await.expect(200);
    refresh(&app, &bob.token).await.expect(200);
}

#[tokio::test]
async fn a_deactivation_by_the_original_statement_ends_sessions_of_older_replicas() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    // As a replica of the previous version inserts it: the newer columns have their defaults.
    app.execute("UPDATE user_sessions SET account_id = NULL, is_bound = FALSE, access_expires_at = NULL").await;
    let second = refresh(&app, &ann.token).await.expect(200);

    app.execute(TOGGLE).await;

    refresh(&app, &second).await.expect(401);
    let login = serde_json::json!({"email": ann.email, "password": PASSWORD});
    app.anonymous().post("/auth/login/json", login).await.expect(200);
}
