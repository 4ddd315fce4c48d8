//! Revocations reach all services in time.

use std::time::{Duration, Instant};

use testkit::{SLACK, eventually};

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
