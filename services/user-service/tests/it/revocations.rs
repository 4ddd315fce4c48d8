//! Revocations reach all services, whatever happens to Redis.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use serde_json::Value;
use testkit::{SLACK, eventually};

use crate::app::TestApp;
use crate::login::original_token;

const PROMISE: Duration = Duration::from_secs(5);

async fn insert_deactivated(app: &TestApp) {
    let digits = "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
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
        println!("refused after {:?}", started.elapsed());
        assert!(started.elapsed() < SLACK * PROMISE, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_revocation_outlives_a_token_of_an_earlier_setting() {
    let app = TestApp::start_with(&[("ACCESS_TOKEN_EXPIRE_HOURS", "10")]).await;
    let ann = app.person("ann").await;
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let sid = sessions[0]["sid"].as_str().unwrap();
    let shorter = app.replica_with(&[("ACCESS_TOKEN_EXPIRE_HOURS", "1")]).await;

    shorter.client(ann.client.token()).post("/auth/logout", Value::Null).await.expect(200);

    let key = app.redis_key(&format!("session:revoked:{sid}"));
    let hours = app.redis().await.ttl::<_, i64>(&key).await.unwrap() / 3600;
    assert_eq!(hours, 10);
    app.wipe_redis().await;
    eventually("the revocation is written again", || async {
        (app.redis().await.ttl::<_, i64>(&key).await.unwrap() / 3600 >= 9).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wiped_redis_revives_no_session_for_a_moment() {
    let app = TestApp::start().await;
    let people = [app.person("ann").await, app.person("bob").await, app.person("cat").await];
    for person in &people {
        person.client.post("/auth/logout", Value::Null).await.expect(200);
    }
    // It has nothing cached.
    let other = app.replica().await;

    for person in &people {
        app.wipe_redis().await;
        other.client(person.client.token()).get("/profile/me").await.expect(401);
    }
}

#[tokio::test]
async fn without_redis_mysql_decides_whether_a_session_has_ended() {
    let app = TestApp::start().await;
    let (ann, bob, cat) = (app.person("ann").await, app.person("bob").await, app.person("cat").await);
    let original = original_token(&app, ann.id);
    for client in [&ann.client, &app.server.client(&original)] {
        client.post("/auth/logout", Value::Null).await.expect(200);
    }
    app.execute("UPDATE users SET is_active = FALSE WHERE username = 'bob'").await;

    let alone = app.replica_with(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;

    for token in [ann.client.token(), &original, bob.client.token()] {
        alone.client(token).get("/profile/me").await.expect(401);
    }
    alone.client(cat.client.token()).get("/profile/me").await.expect(200);
}
