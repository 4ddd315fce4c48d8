//! The search for new friends.

use insta::assert_json_snapshot;

use crate::app::{Person, TestApp};

async fn found(person: &Person, query: &str) -> Vec<i64> {
    let found = person.client.get(&format!("/friends/search?{query}")).await.expect(200);
    found.as_array().unwrap().iter().map(|person| person["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn friends_blocked_users_and_the_caller_are_excluded() {
    let app = TestApp::start().await;
    let ann = app.person(1, "user_ann");
    let others: Vec<_> = (2..=7).map(|id| app.person(id, &format!("user_{id}"))).collect();
    ann.befriend(&others[0]).await;
    others[5].befriend(&ann).await;
    ann.block(3).await.expect(200);
    others[2].block(1).await.expect(200);
    ann.request(5).await.expect(201);

    assert_eq!(found(&ann, "query=user").await, [5, 6], "the addressee of a pending request is listed");
    assert_eq!(found(&ann, "q=user&limit=1").await, [5]);
    assert!(found(&ann, "query=nobody").await.is_empty());
}

#[tokio::test]
async fn a_search_runs_with_the_callers_own_token() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    app.person(2, "bob");

    let answer = ann.client.with_header("x-request-id", "traced-1").get("/friends/search?query=bob").await.expect(200);

    let call = &app.user_service.calls("/search")[0];
    assert_eq!(call.token, ann.client.token());
    assert_eq!(call.request_id.as_deref(), Some("traced-1"));
    assert_json_snapshot!(answer, @r#"
    [
      {
        "display_name": "Display bob",
        "id": 2,
        "is_online": false,
        "last_seen_at": "2026-11-24T13:09:10Z",
        "profile_image_url": null,
        "status_message": null,
        "username": "bob"
      }
    ]
    "#);
}

#[tokio::test]
async fn the_parameters_of_a_search_have_bounds() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");

    for wrong in ["", "query=", "query=a&limit=0", "query=a&limit=51"] {
        ann.client.get(&format!("/friends/search?{wrong}")).await.expect(422);
    }
    ann.client.get(&format!("/friends/search?query={}", "a".repeat(51))).await.expect(422);
}

/// Creates user 1, whose friends come before the other users in every search.
async fn after_friends(app: &TestApp, friends: i64, others: i64) -> Person {
    let ann = app.person(1, "ann");
    for id in 2..2 + friends + others {
        app.user_service.add_user(id, &format!("user_{id}"));
    }
    let befriend = sqlx::query(
        "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at)
         WITH RECURSIVE n AS (SELECT 2 AS n UNION ALL SELECT n + 1 FROM n WHERE n <= ?)
         SELECT 1, n, 'accepted', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM n",
    );
    befriend.bind(friends).execute(&app.pool).await.unwrap();
    ann
}

#[tokio::test]
async fn friends_on_the_first_pages_take_no_place_in_the_answer() {
    let app = TestApp::start().await;
    let ann = after_friends(&app, 120, 60).await;

    let offered = found(&ann, "query=user&limit=50").await;

    assert_eq!(offered, (122..172).collect::<Vec<_>>());
    assert_eq!(app.user_service.calls("/search").len(), 4);
}

#[tokio::test]
async fn a_search_reads_no_page_after_the_answer_is_full_or_the_matches_end() {
    let app = TestApp::start().await;
    let ann = after_friends(&app, 1, 120).await;

    assert_eq!(found(&ann, "query=user&limit=20").await, (3..23).collect::<Vec<_>>());
    assert_eq!(app.user_service.calls("/search").len(), 1);
    assert_eq!(found(&ann, "query=user_99&limit=20").await, [99]);
    assert_eq!(app.user_service.calls("/search").len(), 2);
}

#[tokio::test]
async fn a_search_reads_a_bounded_number_of_pages() {
    let app = TestApp::start().await;
    let ann = after_friends(&app, 990, 300).await;

    assert_eq!(found(&ann, "query=user&limit=50").await, (992..1_002).collect::<Vec<_>>());
    assert_eq!(app.user_service.calls("/search").len(), 20);
}

#[tokio::test]
async fn a_search_at_the_original_ends_at_the_repeated_page() {
    let app = TestApp::start().await;
    app.user_service.ignore_offset();
    let ann = after_friends(&app, 40, 260).await;

    assert_eq!(found(&ann, "query=user&limit=50").await, (42..52).collect::<Vec<_>>());
    assert_eq!(app.user_service.calls("/search").len(), 2);
}
