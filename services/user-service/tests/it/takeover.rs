//! The tables that an original leaves behind.

use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::Space;

use crate::login::originals_token;
use crate::stage::Stage;

const ORIGINAL: &str = include_str!("original.sql");
const PASSWORD: &str = "Test1234!@";

async fn taken_over(settings: &[(&'static str, &str)]) -> Stage {
    let space = Space::new();
    let mysql_url = space.schema("bigtech_chat").await;
    let mut connection = MySqlConnection::connect(&mysql_url).await.unwrap();
    sqlx::raw_sql(ORIGINAL).execute(&mut connection).await.unwrap();
    Stage::over(space, mysql_url, settings).await
}

async fn people(stage: &Stage) -> Vec<(i64, String, String)> {
    sqlx::query_as("SELECT id, email, password_hash FROM users ORDER BY id").fetch_all(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn everyone_of_the_original_logs_in_unchanged_and_is_upgraded() {
    let stage = taken_over(&[]).await;
    let before = people(&stage).await;
    assert_eq!(before.len(), 16);

    for (id, email, _) in &before {
        let login = json!({"email": email, "password": PASSWORD});
        let token = stage.stranger().post("/auth/login/json", login).await.expect(200);
        assert_eq!(token["user_id"], *id);
    }

    for (_, email, hash) in people(&stage).await {
        assert!(hash.starts_with("$argon2id$"), "{email}");
        let login = json!({"email": email, "password": PASSWORD});
        stage.stranger().post("/auth/login/json", login).await.expect(200);
    }
}

#[tokio::test]
async fn people_of_the_original_are_seen_and_found() {
    let stage = taken_over(&[]).await;
    let kim = stage.server.client(&originals_token(&stage, 3095));

    assert_eq!(kim.get("/profile/me").await.expect(200)["display_name"], "김민준");
    assert_eq!(kim.get("/users/3100").await.expect(200)["last_seen_at"], "2026-11-24T13:09:10Z");
    testkit::eventually("all are indexed", || async {
        (kim.get("/users/search?query=e").await.body["total_count"] == 5).then_some(())
    })
    .await;
    let found = kim.get("/users/search?query=%EC%84%9C").await.expect(200);
    assert_eq!(found["total_count"], 3, "이서연, 윤서준, 서진: {found}");
}

#[tokio::test]
async fn in_the_mode_for_going_back_the_rows_stay_as_an_original_writes_them() {
    let stage = taken_over(&[("PASSWORD_SCHEME", "bcrypt"), ("BCRYPT_COST", "12")]).await;
    let (_, email, before) = people(&stage).await.swap_remove(0);
    let login = json!({"email": email, "password": PASSWORD});
    stage.stranger().post("/auth/login/json", login).await.expect(200);
    stage.register("newcomer").await;

    let after = people(&stage).await;
    assert_eq!(after[0].2, before, "nothing is rehashed");
    assert!(after[16].2.starts_with("$2b$12$") && after[16].2.len() == 60);
    // The original's own INSERT, columns and all.
    stage
        .execute(
            "INSERT INTO users (email, password_hash, username, display_name, status_message, is_online, last_seen_at,
             is_active, created_at, updated_at)
             VALUES ('late@example.com', 'x', 'late', NULL, NULL, 0, NULL, 1, '2026-11-24 13:09:02', '2026-11-24 13:09:02')",
        )
        .await;
}

#[tokio::test]
async fn names_of_the_original_stay_taken_whatever_their_case() {
    let stage = taken_over(&[]).await;
    let register = async |email: &str, username: &str| {
        let new = json!({"email": email, "username": username, "password": "Passw0rd!"});
        stage.stranger().post("/auth/register", new).await.expect(409)["message"].clone()
    };

    assert_eq!(register("CAROL@example.com", "carol").await, "Email already registered");
    assert_eq!(register("new@example.com", "ANN").await, "Username already taken");
}

#[tokio::test]
async fn two_replicas_migrate_one_schema_at_once() {
    let space = Space::new();
    let mysql_url = space.schema("user").await;
    let stage = Stage::over(space, mysql_url, &[]).await;

    let (one, two) = tokio::join!(stage.replica(), stage.replica());

    for server in [&one, &two] {
        assert!(server.client("").get("/health/ready").await.ok());
    }
    let applied: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM user_migrations WHERE success").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(applied, 5);
}
