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
    let others: Vec<_> = (2..=6).map(|id| app.person(id, &format!("user_{id}"))).collect();
    ann.befriend(&others[0]).await;
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
