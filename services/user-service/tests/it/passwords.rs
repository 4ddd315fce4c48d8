//! Changing passwords, and what is stored of them.

use serde_json::{Value, json};
use testkit::Answer;

use crate::stage::{PASSWORD, Stage, registration};

const NEW: &str = "An0ther-one!";

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let desk = stage.log_in("ann").await;

    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    assert!(ann.client.put("/auth/password", change).await.expect(200)["message"].is_string());

    ann.client.get("/profile/me").await.expect(200);
    desk.client.get("/profile/me").await.expect(401);
    log_in(&stage, PASSWORD).await.expect(401);
    log_in(&stage, NEW).await.expect(200);
}

#[tokio::test]
async fn the_current_password_must_be_right_and_the_new_one_by_the_rules() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let change = async |current: &str, new: &str| {
        ann.client.put("/auth/password", json!({"current_password": current, "new_password": new})).await
    };

    assert_eq!(change("Passw0rd?", NEW).await.expect(400)["message"], "Current password is incorrect");
    let answer = change(PASSWORD, "short").await;
    assert!(!answer.text.contains("\"short\""));
    assert_eq!(answer.expect(422)["detail"][0]["loc"], json!(["body", "new_password"]));
    log_in(&stage, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn raised_parameters_reach_a_hash_at_its_next_login() {
    let stage = Stage::start().await;
    stage.register("ann").await;
    assert!(stored(&stage).await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));

    let stronger = stage.replica_with(&[("ARGON2_ITERATIONS", "2")]).await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD});
    stronger.client("").post("/auth/login/json", login).await.expect(200);

    assert!(stored(&stage).await.starts_with("$argon2id$v=19$m=8,t=2,p=1$"));
    log_in(&stage, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn in_the_mode_for_going_back_hashes_are_the_originals() {
    let stage = Stage::with(&[("PASSWORD_SCHEME", "bcrypt")]).await;
    stage.register("ann").await;

    assert!(stored(&stage).await.starts_with("$2b$04$"));
    log_in(&stage, PASSWORD).await.expect(200);
    log_in(&stage, "Passw0rd?").await.expect(401);
    stage.stranger().post("/auth/login/json", json!({"email": "x@example.com", "password": "x"})).await.expect(401);

    let mut long = registration("bob");
    long["password"] = json!(format!("a1!{}", "x".repeat(70)));
    let answer = stage.stranger().post("/auth/register", long.clone()).await.expect(422);
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "password"]));
    assert_eq!(answer["detail"][0]["input"], Value::Null);
    long["password"] = json!(format!("a1!{}", "x".repeat(69)));
    stage.stranger().post("/auth/register", long).await.expect(201);
}

async fn log_in(stage: &Stage, password: &str) -> Answer {
    stage.stranger().post("/auth/login/json", json!({"email": "ann@example.com", "password": password})).await
}

async fn stored(stage: &Stage) -> String {
    sqlx::query_scalar("SELECT password_hash FROM users WHERE username = 'ann'").fetch_one(&stage.pool).await.unwrap()
}
