//! The budget of a user's writes.

use std::sync::atomic::{AtomicI64, Ordering};

use testkit::{accepted, early_in_a_minute, eventually, redis_link};

use crate::app::{Person, TestApp};

/// Blocks and unblocks a user.
async fn blocks_again_and_again(person: &Person, other: i64, times: usize) -> usize {
    let turn = AtomicI64::new(0);
    let act = async || match turn.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => person.block(other).await,
        _ => person.unblock(other).await,
    };
    accepted(times, act).await
}

#[tokio::test]
async fn writes_beyond_the_budget_are_refused_and_change_nothing() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_FRIENDS", "4")]).await;
    let (ann, bob) = app.ann_and_bob();
    let (cara, dan) = (app.person(3, "cara"), app.person(4, "dan"));
    app.person(5, "eve");
    early_in_a_minute().await;
    ann.befriend(&bob).await;
    let id = cara.request(1).await.expect(201)["id"].as_i64().unwrap();
    ann.request(4).await.expect(201);
    assert_eq!(blocks_again_and_again(&ann, 5, 2).await, 2);

    let client = &ann.client;
    let post = async |path: &str| client.post(path, serde_json::json!({})).await;
    assert_eq!(accepted(1, async || ann.request(5).await).await, 0);
    assert_eq!(accepted(1, async || ann.answer(3, "accept").await).await, 0);
    assert_eq!(accepted(1, async || ann.answer(3, "reject").await).await, 0);
    assert_eq!(accepted(1, async || post(&format!("/friends/{id}/accept")).await).await, 0);
    assert_eq!(accepted(1, async || post(&format!("/friends/{id}/reject")).await).await, 0);
    assert_eq!(accepted(1, async || ann.cancel(4).await).await, 0);
    assert_eq!(accepted(1, async || ann.unfriend(2).await).await, 0);
    assert_eq!(accepted(1, async || ann.block(2).await).await, 0);
    assert_eq!(accepted(1, async || ann.unblock(5).await).await, 0);

    assert_eq!(ann.friends().await, [2]);
    let waiting = ann.requests().await;
    assert_eq!(waiting["received_requests"][0]["user_id"], 3);
    assert_eq!(waiting["sent_requests"][0]["user_id"], 4);
    assert_eq!(app.metric(r#"write_budget_refused_total{budget="friends"}"#).await, 9.0);
    dan.answer(1, "accept").await.expect(200);
}

#[tokio::test]
async fn requests_beyond_the_daily_budget_are_refused_and_others_are_not() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_FRIEND_REQUESTS", "3")]).await;
    let (ann, bob) = app.ann_and_bob();
    for id in 3..=6 {
        app.person(id, &format!("person_{id}"));
    }
    // The end of a day is the end of a minute.
    early_in_a_minute().await;
    ann.request(999).await.expect(404);
    for id in 2..=4 {
        ann.request(id).await.expect(201);
    }

    for id in 5..=6 {
        let refused = ann.request(id).await;
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=24 * 3600).contains(&wait), "{wait}");
        refused.expect(429);
    }
    assert_eq!(ann.requests().await["sent_requests"].as_array().unwrap().len(), 3);
    ann.cancel(2).await.expect(200);
    bob.request(1).await.expect(201);
}

#[tokio::test]
async fn replicas_share_the_budget() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_FRIENDS", "10")]).await;
    let replica = app.replica(&app.user_service.url()).await;
    app.person(1_000, "zoe");
    let next = AtomicI64::new(1);

    // An attempt may fall into two minutes, and a loaded machine may miss the deadline for Redis.
    eventually("the replicas accept the budget together", || async {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let here = app.person(id, &format!("user_{id}"));
        let there = here.at(&replica);
        let here = blocks_again_and_again(&here, 1_000, 6).await;
        let there = blocks_again_and_again(&there, 1_000, 6).await;
        assert!(here == 6 && there >= 4, "{here} and {there}");
        (there == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_writes_are_accepted_and_bounded() {
    let (link, through_link) = redis_link().await;
    let [(name, url)] = &through_link;
    let app = TestApp::start_with(&[("WRITE_LIMIT_FRIENDS", "10"), (name, url)]).await;
    let (ann, _) = app.ann_and_bob();
    link.set_faulty(true);
    early_in_a_minute().await;

    assert_eq!(blocks_again_and_again(&ann, 2, 15).await, 10);
    assert!(link.cuts() > 0);
}
