//! The migration of a table that the original has filled.

use std::sync::Arc;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use testkit::Space;

use crate::app::TestApp;

async fn with_the_originals_rows() -> TestApp {
    with_the_originals_rows_and("").await
}

/// Starts a service on the original's table, filled with the rows of the dump and of the statement `more`.
async fn with_the_originals_rows_and(more: &str) -> TestApp {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let table = format!("{}{more}", include_str!("original.sql"));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(table))).await.unwrap();
    TestApp::start_in(space, url).await
}

#[tokio::test]
async fn the_originals_friendships_and_requests_are_listed() {
    let app = with_the_originals_rows().await;
    let kim = app.person(3095, "kim_minjun");
    for (id, name) in [(3096, "lee_seoyeon"), (3106, "seo-jin"), (3107, "Ann"), (3108, "bob_1")] {
        app.user_service.add_user(id, name);
    }

    assert_eq!(kim.friends().await, [3096, 3097, 3098, 3099, 3104, 3105]);
    let requests = kim.requests().await;
    assert_eq!(requests["received_requests"].as_array().unwrap().len(), 2, "{requests}");
    assert_eq!(requests["received_requests"][0]["created_at"], "2026-11-24T13:09:11Z");
    assert_eq!(requests["sent_requests"][0]["username"], "bob_1");
}

#[tokio::test]
async fn the_oldest_friendship_of_a_pair_stays_and_its_duplicates_are_logged() {
    let app = with_the_originals_rows().await;

    let live: Vec<i32> = sqlx::query_scalar("SELECT id FROM friendships WHERE live_low = 3095 AND live_high = 3096")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(live, [1208]);
    let merged = testkit::eventually("the merge is logged", || async {
        let merged = sqlx::query_as("SELECT friendship_id, kept_id FROM friend_merged WHERE logged_at IS NOT NULL");
        let merged: Vec<(i32, i32)> = merged.fetch_all(&app.pool).await.unwrap();
        (!merged.is_empty()).then_some(merged)
    })
    .await;
    assert_eq!(merged, [(1225, 1208)]);
}

#[tokio::test]
async fn a_merge_keeps_an_accepted_friendship_accepted() {
    let more = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at) VALUES
        (7, 8, 'pending', '2026-01-01', '2026-01-01'), (8, 7, 'accepted', '2026-01-02', '2026-01-02'),
        (7, 8, 'pending', '2026-01-03', '2026-01-03'), (7, 9, NULL, NULL, NULL)";
    let app = with_the_originals_rows_and(more).await;
    let seven = app.person(7, "seven");

    assert_eq!(seven.friends().await, [8]);
    assert_eq!(app.live_friendships(7, 8).await, 1);
    assert_eq!(seven.requests().await["sent_requests"][0]["user_id"], 9);
}

#[tokio::test]
async fn the_original_can_still_write_to_the_table() {
    let app = with_the_originals_rows().await;
    let park = app.person(3097, "park_jiho");
    let kang = app.person(3100, "kang_dohyun");
    let insert = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at, deleted_at)
                  VALUES (3097, 3100, 'pending', UTC_TIMESTAMP(), UTC_TIMESTAMP(), NULL)";

    sqlx::query(insert).execute(&app.pool).await.unwrap();

    park.request(3100).await.expect(400);
    assert!(sqlx::query(insert).execute(&app.pool).await.is_err(), "the unique key refuses a duplicate");
    assert_eq!(kang.answer(3097, "accept").await.expect(200)["status"], json!("accepted"));
}

#[tokio::test]
async fn two_replicas_can_migrate_an_empty_schema_concurrently() {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;

    let (one, two) = tokio::join!(TestApp::start_in(space.clone(), url.clone()), TestApp::start_in(space, url));

    let (ann, _) = one.ann_and_bob();
    ann.request(2).await.expect(201);
    assert_eq!(two.live_friendships(1, 2).await, 1);
}
