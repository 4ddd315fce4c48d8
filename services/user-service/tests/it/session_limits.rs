//! Bounds of sessions: their number, their lifetime, their refreshes, and the rows that they leave behind.

use serde_json::json;
use testkit::eventually;

use crate::app::{PASSWORD, TestApp};
use crate::sessions::refresh;

#[tokio::test]
async fn a_login_beyond_the_limit_ends_the_session_that_was_unused_for_longest() {
    let app = TestApp::start_with(&[("SESSIONS_PER_USER", "3")]).await;
    let first = app.person("ann").await;
    let second = app.log_in("ann").await;
    app.log_in("ann").await;
    refresh(&app, &first.token).await.expect(200);

    let fourth = app.log_in("ann").await;

    assert_eq!(fourth.client.get("/auth/sessions").await.expect(200).as_array().map(Vec::len), Some(3));
    second.client.get("/profile/me").await.expect(401);
    refresh(&app, &second.token).await.expect(401);
    first.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn a_user_has_at_most_a_hundred_sessions() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    app.execute(
        "INSERT INTO user_sessions (sid, user_id, refresh_hash, created_at, last_used_at, expires_at)
         SELECT UUID(), user_id, UNHEX(SHA2(CONCAT(a.d, b.d, c.d), 256)), created_at, last_used_at - INTERVAL 1 HOUR,
                expires_at
         FROM user_sessions,
              (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) a,
              (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) b,
              (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5) c",
    )
    .await;

    app.log_in("ann").await;

    assert_eq!(ann.client.get("/auth/sessions").await.expect(200).as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn a_session_ends_after_ninety_days_however_often_it_is_refreshed() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    app.execute("UPDATE user_sessions SET created_at = UTC_TIMESTAMP(6) - INTERVAL 89 DAY").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    let rest = second["refresh_expires_in"].as_u64().unwrap();
    assert!((86_000..=86_400).contains(&rest), "{rest}");

    app.execute("UPDATE user_sessions SET created_at = created_at - INTERVAL 1 DAY").await;

    refresh(&app, &second).await.expect(401);
}

#[tokio::test]
async fn refreshes_of_one_session_are_limited_and_theft_is_still_noticed() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_REFRESHES", "2")]).await;
    let ann = app.person("ann").await;
    let desk = app.log_in("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    let third = refresh(&app, &second).await.expect(200);

    let answer = refresh(&app, &third).await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(429);
    refresh(&app, &desk.token).await.expect(200);
    refresh(&app, &ann.token).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn repeated_exchanges_of_a_predecessor_count_as_refreshes_of_the_session() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_REFRESHES", "3")]).await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    refresh(&app, &ann.token).await.expect(200);
    refresh(&app, &ann.token).await.expect(200);

    let answer = refresh(&app, &ann.token).await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(429);
    refresh(&app, &second).await.expect(429);
    ann.client.get("/profile/me").await.expect(200);
    // From now on the first token is that of a thief or of its victim.
    app.execute("UPDATE user_sessions SET last_used_at = last_used_at - INTERVAL 31 SECOND").await;
    refresh(&app, &ann.token).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn successful_logins_of_an_account_are_limited() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_SUCCESSES", "3")]).await;
    let ann = app.person("ann").await;
    app.log_in("ann").await;
    app.log_in("ann").await;
    let log_in = async |password: &str| {
        let elsewhere = app.anonymous().with_header("x-forwarded-for", "203.0.113.9");
        elsewhere.post("/auth/login/json", json!({"email": ann.email, "password": password})).await
    };

    let answer = log_in(PASSWORD).await;

    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    answer.expect(429);
    log_in("Wr0ng-password!").await.expect(401);
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    assert_eq!(sessions.as_array().map(Vec::len), Some(3));
    app.person("bob").await;
}

async fn count(app: &TestApp, rows: &'static str) -> i64 {
    let count = format!("SELECT COUNT(*) FROM {rows}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&app.pool).await.unwrap()
}

#[tokio::test]
async fn a_revoked_session_is_deleted_with_its_used_tokens_once_its_access_tokens_have_expired() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    refresh(&app, &second).await.expect(200);
    let bob = app.person("bob").await;
    refresh(&app, &bob.token).await.expect(200);
    ann.client.post("/auth/logout", json!({})).await.expect(200);
    bob.client.post("/auth/logout", json!({})).await.expect(200);
    app.execute(
        "UPDATE user_sessions JOIN users ON users.id = user_id
         SET revoked_at = revoked_at - INTERVAL 4 HOUR, tokens_expire_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR
         WHERE username = 'ann'",
    )
    .await;

    // The first pruning of a replica.
    let _replica = app.replica().await;

    eventually("the session is deleted", || async { (count(&app, "user_sessions").await == 1).then_some(()) }).await;
    assert_eq!(count(&app, "user_used_refresh_tokens").await, 1);
    assert_eq!(count(&app, "user_used_refresh_tokens JOIN user_sessions USING (sid)").await, 1);
}

#[tokio::test]
async fn theft_is_noticed_by_a_token_that_was_used_long_ago() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    let second = refresh(&app, &ann.token).await.expect(200);
    let third = refresh(&app, &second).await.expect(200);
    app.execute("UPDATE user_used_refresh_tokens SET used_at = used_at - INTERVAL 80 DAY").await;
    // Its pruning deletes this row.
    app.execute(
        "INSERT INTO user_used_refresh_tokens (refresh_hash, sid, used_at)
         VALUES (REPEAT('x', 32), '', UTC_TIMESTAMP(6) - INTERVAL 100 DAY)",
    )
    .await;
    let _replica = app.replica().await;
    let left = "user_used_refresh_tokens WHERE sid = ''";
    eventually("old rows are deleted", || async { (count(&app, left).await == 0).then_some(()) }).await;

    refresh(&app, &ann.token).await.expect(401);

    refresh(&app, &third).await.expect(401);
    ann.client.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn all_expired_rows_are_deleted() {
    let app = TestApp::start().await;
    let digits =
        "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
                   UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let insert = format!(
        "INSERT INTO user_used_refresh_tokens (refresh_hash, sid, used_at)
         SELECT UNHEX(SHA2(CONCAT(a.d, b.d, c.d, d.d, e.d), 256)), '', UTC_TIMESTAMP(6) - INTERVAL 100 DAY
         FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e WHERE e.d < 3"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&app.pool).await.unwrap();

    // The first pruning of a replica.
    let _replica = app.replica().await;

    eventually("30,000 rows are deleted", || async {
        (count(&app, "user_used_refresh_tokens").await == 0).then_some(())
    })
    .await;
}
