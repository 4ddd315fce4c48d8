//! A user-service that is slow, fails, answers with invalid bodies, or is unavailable.

use std::time::{Duration, Instant};

use testkit::SLACK;

use crate::app::{Person, TestApp};
use crate::user_service::Behavior;

/// No server listens at this URL.
const UNAVAILABLE: &str = "http://127.0.0.1:1";

/// The contract's deadline for a list is 300 ms, regardless of user-service.
const LIST_DEADLINE: Duration = Duration::from_millis(SLACK as u64 * 300);

const SLOW: Behavior = Behavior::Slow(Duration::from_secs(5));

/// The usernames in the friend list, and the duration of the call.
async fn names(person: &Person) -> (Vec<String>, Duration) {
    let started = Instant::now();
    let list = person.client.get("/friends/list").await.expect(200);
    let names = list.as_array().unwrap().iter().map(|friend| friend["username"].as_str().unwrap().to_owned());
    (names.collect(), started.elapsed())
}

async fn assert_list_answers_in_time_while(behavior: Behavior) {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    let fresh = app.replica(&app.user_service.url()).await;
    app.user_service.set_behavior(behavior);

    // On a loaded machine a single call may miss the deadline, so one of ten suffices.
    let mut took = Vec::new();
    while took.len() < 10 && took.last().is_none_or(|took| *took >= LIST_DEADLINE) {
        let (names, time) = names(&ann.at(&fresh)).await;
        assert_eq!(names, ["Unknown"]);
        took.push(time);
    }
    assert!(took.last().is_some_and(|took| *took < LIST_DEADLINE), "{took:?}");
}

#[tokio::test]
async fn lists_answer_in_time_while_user_service_is_slow() {
    assert_list_answers_in_time_while(SLOW).await;
}

#[tokio::test]
async fn lists_answer_in_time_while_user_service_fails() {
    assert_list_answers_in_time_while(Behavior::Failing).await;
}

#[tokio::test]
async fn lists_answer_in_time_while_user_service_sends_invalid_bodies() {
    assert_list_answers_in_time_while(Behavior::InvalidBody).await;
}

#[tokio::test]
async fn cached_usernames_are_shown_while_user_service_fails() {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    assert_eq!(names(&ann).await.0, ["bob"]);

    app.user_service.set_behavior(Behavior::Failing);

    assert_eq!(names(&ann).await.0, ["bob"]);
}

async fn assert_unverified_users_are_refused_while(behavior: Behavior) {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    app.user_service.set_behavior(behavior);

    let started = Instant::now();
    let refused = ann.request(2).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    assert!(refused.header("retry-after").is_some());
    let refused = refused.expect(503);
    assert_eq!(refused["error"], "service_unavailable");
    assert_eq!(refused["detail"], refused["message"], "`detail` is a text in friend-service");
    bob.block(1).await.expect(503);
    ann.client.get("/friends/search?query=bob").await.expect(503);
    assert_eq!(app.live_friendships(1, 2).await, 0);

    app.user_service.set_behavior(Behavior::Healthy);
    testkit::eventually("requests succeed again", || async { (ann.request(2).await.status == 201).then_some(()) })
        .await;
}

#[tokio::test]
async fn requests_are_503_while_user_service_is_slow() {
    assert_unverified_users_are_refused_while(SLOW).await;
}

#[tokio::test]
async fn requests_are_503_while_user_service_fails() {
    assert_unverified_users_are_refused_while(Behavior::Failing).await;
}

#[tokio::test]
async fn requests_are_503_while_user_service_sends_invalid_bodies() {
    assert_unverified_users_are_refused_while(Behavior::InvalidBody).await;
}

#[tokio::test]
async fn without_user_service_lists_answer_and_requests_fail() {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    let replica = app.replica(UNAVAILABLE).await;
    let cara = app.person_without_account(3, "cara").at(&replica);

    assert_eq!(names(&ann.at(&replica)).await.0, ["Unknown"]);
    cara.request(1).await.expect(503);
    ann.at(&replica).unfriend(2).await.expect(200);
}

#[tokio::test]
async fn the_circuit_opens_while_calls_fail_and_closes_when_they_succeed() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();
    app.user_service.set_behavior(Behavior::Failing);
    testkit::eventually("the circuit opens", || async {
        let before = app.user_service.calls("").len();
        ann.request(2).await.expect(503);
        (app.user_service.calls("").len() == before).then_some(())
    })
    .await;
    assert_eq!(app.metric("user_service_circuit_open").await, 1.0);
    assert!(app.metric("user_service_calls_total{call=\"exists\",outcome=\"rejected\"}").await > 0.0);
    assert!(app.metric("user_service_calls_total{call=\"exists\",outcome=\"status\"}").await > 0.0);

    app.user_service.set_behavior(Behavior::Healthy);
    testkit::eventually("the circuit closes", || async { (ann.request(2).await.status == 201).then_some(()) }).await;
    assert_eq!(app.metric("user_service_circuit_open").await, 0.0);
}

#[tokio::test]
async fn concurrent_look_ups_share_calls() {
    let app = TestApp::start().await;
    let (ann, bob) = app.two_friends().await;
    let cara = app.person(3, "cara");
    ann.befriend(&cara).await;
    let fresh = app.replica(&app.user_service.url()).await;
    let (ann, bob) = (ann.at(&fresh), bob.at(&fresh));
    app.user_service.set_behavior(Behavior::Slow(Duration::from_millis(100)));
    let before = app.user_service.calls("/batch").len();

    let lists = futures_util::future::join_all((0..20).map(|n| {
        let person = if n % 2 == 0 { &ann } else { &bob };
        async { names(person).await.0 }
    }));
    for (n, names) in lists.await.into_iter().enumerate() {
        assert_eq!(names, if n % 2 == 0 { vec!["bob", "cara"] } else { vec!["ann"] });
    }

    // Two batches at most: one call may begin before all look-ups have arrived.
    assert!(app.user_service.calls("/batch").len() - before <= 2);
}

#[tokio::test]
async fn calls_are_signed_and_carry_the_request_id() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();

    ann.client
        .with_header("x-request-id", "traced-7")
        .post("/friends/request", serde_json::json!({"user_id_2": 2}))
        .await
        .expect(201);

    for path in ["/exists", "/batch"] {
        let call = &app.user_service.calls(path)[0];
        assert_eq!(call.request_id.as_deref(), Some("traced-7"), "{path}");
        let services = common::jwt::ServiceTokens::new(
            app.server.platform().config.service_secret_key.as_ref().unwrap(),
            "user-service",
        );
        assert_eq!(services.verify(&call.token).as_deref(), Some("friend-service"), "{path}");
    }
}
