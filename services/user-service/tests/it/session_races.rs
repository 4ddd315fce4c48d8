//! Logins, refreshes and password changes that overlap with a change of their account.
//!
//! A test changes the account's row, starts a request, and commits the change when the request waits for the row.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use testkit::{Answer, SLACK, eventually};

use crate::app::{PASSWORD, Person, TestApp};
use crate::second_factor::enable;
use crate::sessions::refresh;

const NEW: &str = "An0ther-one!";

const OTHER_PASSWORD: &str =
    "UPDATE users SET password_hash = (SELECT hash FROM other_password) WHERE username = 'ann'";
const DEACTIVATION: &str = "UPDATE users SET is_active = FALSE WHERE username = 'ann'";

/// An app with ann, and with the hash of the password `NEW` in a table.
async fn app_with_ann(settings: &[(&'static str, &str)]) -> (TestApp, Person) {
    let app = TestApp::start_with(settings).await;
    let ann = app.person("ann").await;
    let bob = json!({"email": "bob@example.com", "username": "bob", "password": NEW});
    app.anonymous().post("/auth/register", bob).await.expect(201);
    app.execute("CREATE TABLE other_password SELECT password_hash AS hash FROM users WHERE username = 'bob'").await;
    (app, ann)
}

/// Runs `request` so that it reaches the account's row after `change` has locked it and before `change` commits.
async fn overtake(app: &TestApp, change: &'static str, request: impl Future<Output = Answer>) -> Answer {
    let mut connection = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut *tx).await.unwrap();
    let commit = async {
        // Longer than a request takes to the row. A slower request sees the change and is refused as well.
        tokio::time::sleep(Duration::from_secs(1)).await;
        tx.commit().await.unwrap();
    };
    tokio::join!(request, commit).0
}

/// A hash of the same password, as a concurrent login writes it instead of an outdated one.
const OTHER_HASH: &str = "UPDATE users SET password_hash = (SELECT hash FROM other_hash) WHERE username = 'ann'";

async fn log_in(app: &TestApp, password: &str) -> Answer {
    app.anonymous().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
}

async fn live_sessions(app: &TestApp) -> i64 {
    let live = sqlx::query_scalar("SELECT COUNT(*) FROM user_sessions WHERE revoked_at IS NULL");
    live.fetch_one(&app.pool).await.unwrap()
}

#[tokio::test]
async fn a_login_that_a_password_change_overtakes_is_refused() {
    let (app, _ann) = app_with_ann(&[]).await;

    let answer = overtake(&app, OTHER_PASSWORD, log_in(&app, PASSWORD)).await;

    assert_eq!(answer.expect(401)["message"], "Invalid email or password");
    assert_eq!(live_sessions(&app).await, 1);
    log_in(&app, NEW).await.expect(200);
}

#[tokio::test]
async fn a_login_that_a_deactivation_overtakes_is_refused() {
    let (app, _ann) = app_with_ann(&[]).await;
    let before = live_sessions(&app).await;

    overtake(&app, DEACTIVATION, log_in(&app, PASSWORD)).await.expect(403);

    assert!(live_sessions(&app).await <= before);
}

#[tokio::test]
async fn a_refresh_that_a_deactivation_overtakes_is_refused() {
    let (app, ann) = app_with_ann(&[]).await;

    overtake(&app, DEACTIVATION, refresh(&app, &ann.token)).await.expect(401);
}

#[tokio::test]
async fn a_refresh_that_a_password_change_overtakes_is_refused() {
    let (app, ann) = app_with_ann(&[]).await;
    let change = "UPDATE users SET password_hash = (SELECT hash FROM other_password) WHERE username = 'ann';
                  UPDATE user_sessions SET revoked_at = UTC_TIMESTAMP(6)";

    overtake(&app, change, refresh(&app, &ann.token)).await.expect(401);
}

#[tokio::test]
async fn a_password_change_that_another_one_overtakes_is_refused() {
    let (app, ann) = app_with_ann(&[]).await;
    let change = json!({"current_password": PASSWORD, "new_password": "Th1rd-one!"});

    let answer = overtake(&app, OTHER_PASSWORD, ann.client.put("/auth/password", change)).await;

    assert_eq!(answer.expect(400)["message"], "Current password is incorrect");
    log_in(&app, "Th1rd-one!").await.expect(401);
    log_in(&app, NEW).await.expect(200);
}

#[tokio::test]
async fn a_password_change_that_a_deactivation_overtakes_is_refused() {
    let (app, ann) = app_with_ann(&[]).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});

    overtake(&app, DEACTIVATION, ann.client.put("/auth/password", change)).await.expect(401);

    // Only the right password reveals the deactivation.
    log_in(&app, PASSWORD).await.expect(403);
    log_in(&app, NEW).await.expect(401);
}

#[tokio::test]
async fn concurrent_logins_that_replace_an_outdated_hash_all_succeed() {
    let (app, _ann) = app_with_ann(&[("PASSWORD_SCHEME", "bcrypt")]).await;
    let argon2 = app.replica_with(&[("PASSWORD_SCHEME", "argon2id")]).await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD});

    let answers = join_all((0..12).map(|_| {
        let (client, login) = (argon2.client(""), login.clone());
        async move { client.post("/auth/login/json", login).await.status }
    }))
    .await;

    assert_eq!(answers, [200; 12]);
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM users WHERE username = 'ann'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$"));
}

#[tokio::test]
async fn a_login_that_verifies_the_password_again_needs_no_further_code() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    app.register("bob").await;
    app.execute("CREATE TABLE other_hash SELECT password_hash AS hash FROM users WHERE username = 'bob'").await;
    let (_, codes) = enable(&ann).await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD, "mfa_code": codes[0]});

    overtake(&app, OTHER_HASH, app.anonymous().post("/auth/login/json", login)).await.expect(200);
}

/// The statements of docs/operations.md, without a pause in which a task could notice the deactivation.
#[tokio::test]
async fn a_reactivation_at_once_does_not_revive_the_sessions_of_the_account() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    ann.client.get("/profile/me").await.expect(200);

    app.execute(
        "UPDATE users u LEFT JOIN user_sessions s ON s.user_id = u.id AND s.revoked_at IS NULL
         SET u.is_active = 0, u.updated_at = UTC_TIMESTAMP(6), s.revoked_at = UTC_TIMESTAMP(6)
         WHERE u.email_canonical = 'ann@example.com';
         UPDATE users SET is_active = 1, updated_at = UTC_TIMESTAMP(6) WHERE email_canonical = 'ann@example.com'",
    )
    .await;

    refresh(&app, &ann.token).await.expect(401);
    let started = Instant::now();
    eventually("the access token is refused", || async {
        (ann.client.get("/profile/me").await.status == 401).then_some(())
    })
    .await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5), "{:?}", started.elapsed());
    app.log_in_when_available("ann").await;
    bob.client.get("/profile/me").await.expect(200);
}
