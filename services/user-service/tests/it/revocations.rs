//! Revocations reach all services in time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{SLACK, eventually, redis_link};

use crate::app::TestApp;

const PROMISE: Duration = Duration::from_secs(5);

async fn insert_deactivated(app: &TestApp) {
    let digits =
        "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
                   UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let insert = format!(
        "INSERT INTO users (email, password_hash, username, is_online, is_active)
         SELECT CONCAT('gone', a.d, b.d, c.d, d.d, '@example.com'), 'x', CONCAT('gone', a.d, b.d, c.d, d.d), FALSE, FALSE
         FROM {digits} a, {digits} b, {digits} c, {digits} d"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&app.pool).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_deactivated_accounts_do_not_delay_a_deactivation() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    insert_deactivated(&app).await;

    for (person, deactivate) in [
        (&ann, "UPDATE users SET is_active = FALSE WHERE username = 'ann'"),
        (&bob, "UPDATE users SET is_active = FALSE WHERE username = 'bob'"),
    ] {
        person.client.get("/profile/me").await.expect(200);
        app.execute(deactivate).await;
        let started = Instant::now();
        eventually("the person is refused", || async {
            (person.client.get("/profile/me").await.status == 401).then_some(())
        })
        .await;
        assert!(started.elapsed() < SLACK * PROMISE, "{:?}", started.elapsed());
    }
}

/// As after a crash between the two: the sessions are ended in MySQL, and Redis does not know it.
#[tokio::test]
async fn a_deactivation_reaches_redis_when_it_answers_again() {
    let (link, through_link) = redis_link().await;
    let [(name, url)] = &through_link;
    let app = TestApp::start_with(&[(name, url)]).await;
    app.person("ann").await;
    let record = async |column: &str| {
        let query = format!("SELECT COUNT(*) FROM user_deactivations WHERE {column}");
        (sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query)).fetch_one(&app.pool).await.unwrap() == 1)
            .then_some(())
    };

    link.set_faulty(true);
    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'ann'").await;
    eventually("the sessions are ended", || record("ended")).await;
    assert_eq!(record("copied").await, None);
    link.set_faulty(false);

    eventually("Redis knows it", || record("copied")).await;
}

/// A replica that copies all records to Redis can write the record of an account again that another replica has just forgotten.
/// A login in between opens a session, and here the account is deactivated before that record is forgotten too.
#[tokio::test]
async fn a_deactivation_ends_the_sessions_of_an_account_that_is_recorded_already() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    app.execute(
        "START TRANSACTION;
         INSERT INTO user_deactivations (user_id) SELECT id FROM users WHERE username = 'ann';
         UPDATE users SET is_active = FALSE WHERE username = 'ann';
         COMMIT",
    )
    .await;
    eventually("the sessions are ended", || async {
        let open = "SELECT COUNT(*) FROM user_sessions WHERE revoked_at IS NULL";
        (sqlx::query_scalar::<_, i64>(open).fetch_one(&app.pool).await.unwrap() == 0).then_some(())
    })
    .await;

    app.execute("UPDATE users SET is_active = TRUE WHERE username = 'ann'").await;

    app.log_in_when_available("ann").await;
    let refresh = json!({"refresh_token": ann.token["refresh_token"]});
    app.anonymous().post("/auth/refresh", refresh).await.expect(401);
}

#[tokio::test]
async fn without_redis_revocations_are_looked_up_in_mysql() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.person("ann").await, app.person("bob").await, app.person("eve").await);
    ann.client.post("/auth/logout", Value::Null).await.expect(200);
    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'bob'").await;

    let (link, through_link) = redis_link().await;
    let through_link = through_link.each_ref().map(|(name, url)| (*name, url.as_str()));
    let replica = app.replica_with(&through_link).await;
    link.set_faulty(true);

    for (person, status) in [(&ann, 401), (&bob, 401), (&eve, 200)] {
        replica.client(person.client.token()).get("/profile/me").await.expect(status);
    }
}

#[tokio::test]
async fn a_revocation_outlives_the_longest_token_of_its_session() {
    const DAY: i64 = 24 * 3600;
    let app = TestApp::start_with(&[("ACCESS_TOKEN_EXPIRE_HOURS", "72")]).await;
    let ann = app.person("ann").await;
    app.server.stop().await;
    let short = app.replica_with(&[("ACCESS_TOKEN_EXPIRE_HOURS", "1")]).await;
    let refreshed =
        short.client("").post("/auth/refresh", json!({"refresh_token": ann.token["refresh_token"]})).await.expect(200);

    short.client(refreshed["access_token"].as_str().unwrap()).post("/auth/logout", Value::Null).await.expect(200);

    let sid: String = sqlx::query_scalar("SELECT sid FROM user_sessions").fetch_one(&app.pool).await.unwrap();
    let key = format!("session:revoked:{sid}");
    eventually("the revocation lives as long as the first token", || async {
        let left = app.time_to_live(&key).await;
        (2 * DAY < left && left < 4 * DAY).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_session_stays_while_one_of_its_tokens_lives() {
    let app = TestApp::start_with(&[("ACCESS_TOKEN_EXPIRE_HOURS", "72")]).await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    app.execute("UPDATE user_sessions SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY").await;
    app.execute(
        "UPDATE user_sessions SET tokens_expire_at = expires_at
         WHERE user_id = (SELECT id FROM users WHERE username = 'bob')",
    )
    .await;

    // The first pruning of a replica.
    let _replica = app.replica().await;

    let rows = || async { sqlx::query_scalar("SELECT user_id FROM user_sessions").fetch_all(&app.pool).await.unwrap() };
    let left: Vec<i64> = eventually("bob's row is deleted", || async {
        let left: Vec<i64> = rows().await;
        (!left.contains(&bob.id)).then_some(left)
    })
    .await;
    assert_eq!(left, [ann.id]);
}

#[tokio::test]
async fn an_account_that_is_deactivated_and_reactivated_often_ends_as_it_is() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let _replica = app.replica().await;
    for _ in 0..10 {
        app.execute("UPDATE users SET is_active = NOT is_active WHERE username = 'ann'").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    eventually("ann can log in and act", || async {
        app.log_in_when_available("ann").await.client.get("/profile/me").await.ok().then_some(())
    })
    .await;
    let found = bob.client.get("/users/search?query=ann").await.expect(200);
    assert_eq!(found["users"][0]["id"], ann.id);
    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'ann'").await;
    eventually("ann is not found", || async {
        (bob.client.get("/users/search?query=ann").await.body["total_count"] == 0).then_some(())
    })
    .await;
}
