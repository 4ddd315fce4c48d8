//! The table and rows of the original.

use std::sync::Arc;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use testkit::Space;

use crate::app::TestApp;

async fn with_table_of_the_original() -> TestApp {
    with_table_of_the_original_and("").await
}

/// With more rows than in the dump.
async fn with_table_of_the_original_and(more: &str) -> TestApp {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let table = format!("{}{more}", include_str!("original.sql"));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(table))).await.unwrap();
    TestApp::on(space, url).await
}

#[tokio::test]
async fn friends_and_requests_of_the_original_remain() {
    let app = with_table_of_the_original().await;
    let kim = app.person(3095, "kim_minjun");
    for (id, name) in [(3096, "lee_seoyeon"), (3106, "seo-jin"), (3107, "Ann"), (3108, "bob_1")] {
        app.users.add(id, name);
    }

    assert_eq!(kim.friends().await, [3096, 3097, 3098, 3099, 3104, 3105]);
    let requests = kim.requests().await;
    assert_eq!(requests["received_requests"].as_array().unwrap().len(), 2, "{requests}");
    assert_eq!(requests["received_requests"][0]["created_at"], "2026-11-24T13:09:11Z");
    assert_eq!(requests["sent_requests"][0]["username"], "bob_1");
}

#[tokio::test]
async fn the_oldest_of_duplicate_relations_remains_and_the_others_are_logged() {
    let app = with_table_of_the_original().await;

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
async fn the_merge_keeps_every_friendship() {
    let more = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at) VALUES
        (7, 8, 'pending', '2026-01-01', '2026-01-01'), (8, 7, 'accepted', '2026-01-02', '2026-01-02'),
        (7, 8, 'pending', '2026-01-03', '2026-01-03'), (7, 9, NULL, NULL, NULL)";
    let app = with_table_of_the_original_and(more).await;
    let seven = app.person(7, "seven");

    assert_eq!(seven.friends().await, [8]);
    assert_eq!(app.live_relations(7, 8).await, 1);
    assert_eq!(seven.requests().await["sent_requests"][0]["user_id"], 9);
}

#[tokio::test]
async fn statements_of_the_original_still_work() {
    let app = with_table_of_the_original().await;
    let park = app.person(3097, "park_jiho");
    let kang = app.person(3100, "kang_dohyun");
    let insert = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at, deleted_at)
                  VALUES (3097, 3100, 'pending', UTC_TIMESTAMP(), UTC_TIMESTAMP(), NULL)";

    sqlx::query(insert).execute(&app.pool).await.unwrap();

    park.request(3100).await.expect(400);
    assert!(sqlx::query(insert).execute(&app.pool).await.is_err(), "the key decides");
    assert_eq!(kang.answer(3097, "accept").await.expect(200)["status"], json!("accepted"));
}

#[tokio::test]
async fn two_replicas_can_start_at_once_on_an_empty_schema() {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;

    let (one, two) = tokio::join!(TestApp::on(space.clone(), url.clone()), TestApp::on(space, url));

    let (ann, _) = one.ann_and_bob();
    ann.request(2).await.expect(201);
    assert_eq!(two.live_relations(1, 2).await, 1);
}
