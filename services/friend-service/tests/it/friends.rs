//! The friend list, and the end of a friendship.

use secrecy::ExposeSecret;
use std::sync::Arc;

use redis::AsyncCommands;
use serde_json::json;
use testkit::Space;

use crate::app::{Person, TestApp};
use crate::statement_counter::StatementCounter;

#[tokio::test]
async fn a_friend_is_listed_with_profile_and_presence() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    let friendship = ann.befriend(&bob).await;
    let base = &app.server.platform().config;
    let redis = redis::Client::open(base.redis_url.expose_secret()).unwrap();
    let key = format!("{}user:online:2", base.redis_prefix);

    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    testkit::eventually("bob's own request sets his presence", || {
        let (mut redis, key) = (redis.clone(), key.clone());
        async move { redis.exists::<_, bool>(&key).await.unwrap().then_some(()) }
    })
    .await;
    let mut bob_in_list = json!([{
        "user_id": 2, "username": "bob", "display_name": "Display bob", "email": "", "is_online": true,
        "last_seen_at": "2026-11-24T13:09:10Z", "friends_since": friendship["updated_at"]
    }]);
    assert_eq!(ann.client.get("/friends/list").await.expect(200), bob_in_list);

    redis.del::<_, ()>(&key).await.unwrap();
    bob_in_list[0]["is_online"] = json!(false);
    assert_eq!(ann.client.get("/api/friends").await.expect(200), bob_in_list);
}

#[tokio::test]
async fn pages_of_the_list_follow_the_cursor_to_the_end() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    for id in 2..=6 {
        let friend = app.person(id, &format!("friend{id}"));
        // Requests in both directions, so that both halves of the list are merged.
        if id % 2 == 0 {
            ann.befriend(&friend).await
        } else {
            friend.befriend(&ann).await
        };
    }

    let (mut path, mut pages) = ("/friends/list?limit=2".to_owned(), Vec::new());
    loop {
        let page = ann.client.get(&path).await;
        let next = page.header("x-next-cursor").map(str::to_owned);
        let page = page.expect(200);
        pages.push(page.as_array().unwrap().iter().map(|f| f["user_id"].as_i64().unwrap()).collect::<Vec<_>>());
        let Some(next) = next else { break };
        path = format!("/friends/list?limit=2&cursor={next}");
    }

    assert_eq!(pages, [vec![2, 3], vec![4, 5], vec![6]]);
    let whole = ann.client.get("/friends/list").await;
    assert_eq!(whole.header("x-next-cursor"), None);
    assert_eq!(ann.friends().await, [2, 3, 4, 5, 6]);
    for wrong in ["limit=0", "limit=1001", "cursor=x", "cursor=-1"] {
        ann.client.get(&format!("/friends/list?{wrong}")).await.expect(422);
    }
}

#[tokio::test]
async fn an_ended_friendship_can_begin_again() {
    let app = TestApp::start().await;
    let (ann, bob) = app.two_friends().await;

    assert!(bob.unfriend(1).await.expect(200)["message"].is_string());

    assert!(ann.friends().await.is_empty() && bob.friends().await.is_empty());
    assert_eq!(ann.unfriend(2).await.expect(404)["detail"], "Friendship not found");
    ann.unfriend(1).await.expect(404);
    ann.befriend(&bob).await;
}

#[tokio::test]
async fn a_pending_request_cannot_be_unfriended() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    ann.request(2).await.expect(201);

    ann.unfriend(2).await.expect(404);
    bob.unfriend(1).await.expect(404);

    assert_eq!(app.live_friendships(1, 2).await, 1);
}

async fn with_a_thousand_friends(app: &TestApp) -> Person {
    let mut friendships = sqlx::QueryBuilder::<sqlx::MySql>::new(
        "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at) ",
    );
    friendships.push_values(2..=1001_i64, |mut row, id| {
        row.push("1").push_bind(id).push("'accepted'").push("UTC_TIMESTAMP()").push("UTC_TIMESTAMP()");
    });
    friendships.build().execute(&app.pool).await.unwrap();
    (2..=1001).for_each(|id| app.user_service.add_user(id, &format!("friend{id}")));
    app.person(1, "ann")
}

#[tokio::test]
async fn a_list_of_a_thousand_friends_needs_ten_calls_with_a_cold_cache_and_none_with_a_warm_one() {
    let app = TestApp::start().await;
    let ann = with_a_thousand_friends(&app).await;

    testkit::eventually("every username is cached", || async {
        let list = ann.client.get("/friends/list").await.expect(200);
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 1000);
        list.iter().all(|friend| friend["username"] != "Unknown").then_some(())
    })
    .await;
    assert_eq!(app.user_service.calls("").len(), 10, "cold cache");

    ann.client.get("/friends/list").await.expect(200);
    assert_eq!(app.user_service.calls("").len(), 10, "warm cache");
}

#[tokio::test]
async fn a_list_needs_one_statement_regardless_of_its_length() {
    let space = Arc::new(Space::new());
    let counter = StatementCounter::start(&space.schema("friend").await).await;
    let app = TestApp::start_in(space, counter.url.clone()).await;
    let ann = with_a_thousand_friends(&app).await;
    ann.client.get("/friends/list").await.expect(200);

    let before = counter.statements();
    for _ in 0..40 {
        ann.client.get("/friends/list").await.expect(200);
    }

    // The relay reads its shards every second, and each new connection sends statements of its own.
    let lists = counter.statements() - before;
    assert!((40..80).contains(&lists), "{lists} statements for 40 lists");
}
