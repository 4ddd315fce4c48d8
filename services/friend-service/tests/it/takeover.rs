//! On the table that the original made, with what it left.

use std::sync::Arc;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use testkit::Space;

use crate::stage::Stage;

async fn on_the_originals_table() -> Stage {
    on_the_originals_table_with("").await
}

/// With rows more than in the dump.
async fn on_the_originals_table_with(more: &str) -> Stage {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let table = format!("{}{more}", include_str!("original.sql"));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(table))).await.unwrap();
    Stage::on(space, url).await
}

#[tokio::test]
async fn friends_and_requests_are_taken_over() {
    let stage = on_the_originals_table().await;
    let kim = stage.person(3095, "kim_minjun");
    for (id, name) in [(3096, "lee_seoyeon"), (3106, "seo-jin"), (3107, "Ann"), (3108, "bob_1")] {
        stage.users.know(id, name);
    }

    assert_eq!(kim.friends().await, [3096, 3097, 3098, 3099, 3104, 3105]);
    let requests = kim.requests().await;
    assert_eq!(requests["received_requests"].as_array().unwrap().len(), 2, "{requests}");
    assert_eq!(requests["received_requests"][0]["created_at"], "2026-11-24T13:09:11Z");
    assert_eq!(requests["sent_requests"][0]["username"], "bob_1");
}

#[tokio::test]
async fn of_a_duplicate_pair_the_oldest_stays_and_the_others_are_named() {
    let stage = on_the_originals_table().await;

    let live: Vec<i32> = sqlx::query_scalar("SELECT id FROM friendships WHERE live_low = 3095 AND live_high = 3096")
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(live, [1208]);
    let merged = testkit::eventually("the merge is told", || async {
        let merged = sqlx::query_as("SELECT friendship_id, kept_id FROM friend_merged WHERE logged_at IS NOT NULL");
        let merged: Vec<(i32, i32)> = merged.fetch_all(&stage.pool).await.unwrap();
        (!merged.is_empty()).then_some(merged)
    })
    .await;
    assert_eq!(merged, [(1225, 1208)]);
}

#[tokio::test]
async fn nobody_loses_a_friend_in_the_merge() {
    let more = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at) VALUES
        (7, 8, 'pending', '2026-01-01', '2026-01-01'), (8, 7, 'accepted', '2026-01-02', '2026-01-02'),
        (7, 8, 'pending', '2026-01-03', '2026-01-03'), (7, 9, NULL, NULL, NULL)";
    let stage = on_the_originals_table_with(more).await;
    let seven = stage.person(7, "seven");

    assert_eq!(seven.friends().await, [8]);
    assert_eq!(stage.live_relations(7, 8).await, 1);
    assert_eq!(seven.requests().await["sent_requests"][0]["user_id"], 9);
}

#[tokio::test]
async fn the_originals_statements_still_work_beside_ours() {
    let stage = on_the_originals_table().await;
    let park = stage.person(3097, "park_jiho");
    let kang = stage.person(3100, "kang_dohyun");
    let insert = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at, deleted_at)
                  VALUES (3097, 3100, 'pending', UTC_TIMESTAMP(), UTC_TIMESTAMP(), NULL)";

    sqlx::query(insert).execute(&stage.pool).await.unwrap();

    park.request(3100).await.expect(400);
    assert!(sqlx::query(insert).execute(&stage.pool).await.is_err(), "the key decides");
    assert_eq!(kang.answer(3097, "accept").await.expect(200)["status"], json!("accepted"));
}

#[tokio::test]
async fn two_replicas_may_start_at_once_on_nothing() {
    let space = Arc::new(Space::new());
    let url = space.schema("friend").await;

    let (one, two) = tokio::join!(Stage::on(space.clone(), url.clone()), Stage::on(space, url));

    let (ann, _) = one.ann_and_bob();
    ann.request(2).await.expect(201);
    assert_eq!(two.live_relations(1, 2).await, 1);
}
