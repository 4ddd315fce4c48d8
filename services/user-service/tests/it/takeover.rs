//! The service on the tables and data of the original.

use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::Space;

use crate::app::TestApp;
use crate::login::original_token;

const ORIGINAL: &str = include_str!("original.sql");
const PASSWORD: &str = "Test1234!@";

async fn app_on_original_data(settings: &[(&'static str, &str)]) -> TestApp {
    let space = Space::new();
    let mysql_url = space.schema("bigtech_chat").await;
    let mut connection = MySqlConnection::connect(&mysql_url).await.unwrap();
    sqlx::raw_sql(ORIGINAL).execute(&mut connection).await.unwrap();
    TestApp::start_in(space, mysql_url, settings).await
}

async fn accounts(app: &TestApp) -> Vec<(i64, String, String)> {
    sqlx::query_as("SELECT id, email, password_hash FROM users ORDER BY id").fetch_all(&app.pool).await.unwrap()
}

#[tokio::test]
async fn users_of_the_original_log_in_and_their_hashes_are_replaced() {
    let app = app_on_original_data(&[]).await;
    let before = accounts(&app).await;
    assert_eq!(before.len(), 16);

    for (id, email, _) in &before {
        let login = json!({"email": email, "password": PASSWORD});
        let token = app.anonymous().post("/auth/login/json", login).await.expect(200);
        assert_eq!(token["user_id"], *id);
    }

    for (_, email, hash) in accounts(&app).await {
        assert!(hash.starts_with("$argon2id$"), "{email}");
        let login = json!({"email": email, "password": PASSWORD});
        app.anonymous().post("/auth/login/json", login).await.expect(200);
    }
}

#[tokio::test]
async fn users_of_the_original_have_profiles_and_are_found() {
    let app = app_on_original_data(&[]).await;
    let kim = app.server.client(&original_token(&app, 3095));

    assert_eq!(kim.get("/profile/me").await.expect(200)["display_name"], "김민준");
    assert_eq!(kim.get("/users/3100").await.expect(200)["last_seen_at"], "2026-11-24T13:09:10Z");
    testkit::eventually("all accounts are indexed", || async {
        (kim.get("/users/search?query=e").await.body["total_count"] == 5).then_some(())
    })
    .await;
    let found = kim.get("/users/search?query=%EC%84%9C").await.expect(200);
    assert_eq!(found["total_count"], 3, "이서연, 윤서준, 서진: {found}");
}

#[tokio::test]
async fn with_the_bcrypt_scheme_the_original_can_read_every_row() {
    let app = app_on_original_data(&[("PASSWORD_SCHEME", "bcrypt"), ("BCRYPT_COST", "12")]).await;
    let (_, email, before) = accounts(&app).await.swap_remove(0);
    let login = json!({"email": email, "password": PASSWORD});
    app.anonymous().post("/auth/login/json", login).await.expect(200);
    app.register("newcomer").await;

    let after = accounts(&app).await;
    assert_eq!(after[0].2, before, "the hash is not replaced");
    assert!(after[16].2.starts_with("$2b$12$") && after[16].2.len() == 60);
    // The INSERT statement of the original, with its columns.
    app
        .execute(
            "INSERT INTO users (email, password_hash, username, display_name, status_message, is_online, last_seen_at,
             is_active, created_at, updated_at)
             VALUES ('late@example.com', 'x', 'late', NULL, NULL, 0, NULL, 1, '2026-11-24 13:09:02', '2026-11-24 13:09:02')",
        )
        .await;
}

#[tokio::test]
async fn names_of_the_original_stay_taken_in_any_case() {
    let app = app_on_original_data(&[]).await;
    let register = async |email: &str, username: &str| {
        let new = json!({"email": email, "username": username, "password": "Passw0rd!"});
        app.anonymous().post("/auth/register", new).await.expect(409)["message"].clone()
    };

    assert_eq!(register("CAROL@example.com", "carol").await, "Email already registered");
    assert_eq!(register("new@example.com", "ANN").await, "Username already taken");
}

#[tokio::test]
async fn two_replicas_migrate_one_schema_concurrently() {
    let space = Space::new();
    let mysql_url = space.schema("user").await;
    let app = TestApp::start_in(space, mysql_url, &[]).await;

    let (one, two) = tokio::join!(app.replica(), app.replica());

    for server in [&one, &two] {
        assert!(server.client("").get("/health/ready").await.ok());
    }
    let applied: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM user_migrations WHERE success").fetch_one(&app.pool).await.unwrap();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
    assert_eq!(applied, files as i64);
}
