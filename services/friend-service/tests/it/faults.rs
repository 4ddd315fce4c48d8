//! A user-service that is slow, fails, sends invalid bodies, or is unreachable.

use std::time::{Duration, Instant};

use testkit::SLACK;

use crate::app::{Person, TestApp};
use crate::users::Behaviour;

/// No server listens at this address.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A list takes at most 300 ms, whatever user-service does.
const IN_TIME: Duration = Duration::from_millis(SLACK as u64 * 300);

const SLOW: Behaviour = Behaviour::Slow(Duration::from_secs(5));

/// The names in the friend list, and the duration of the request.
async fn names(person: &Person) -> (Vec<String>, Duration) {
    let started = Instant::now();
    let list = person.client.get("/friends/list").await.expect(200);
    let names = list.as_array().unwrap().iter().map(|friend| friend["username"].as_str().unwrap().to_owned());
    (names.collect(), started.elapsed())
}

async fn a_list_answers_in_time_while(behaviour: Behaviour) {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    let fresh = app.replica(&app.users.url()).await;
    app.users.set_behaviour(behaviour);

    // On a loaded machine some of the requests may be slow.
    let mut took = Vec::new();
    while took.len() < 10 && took.last().is_none_or(|took| *took >= IN_TIME) {
        let (names, time) = names(&ann.at(&fresh)).await;
        assert_eq!(names, ["Unknown"]);
        took.push(time);
    }
    assert!(took.last().is_some_and(|took| *took < IN_TIME), "{took:?}");
}

#[tokio::test]
async fn lists_answer_in_time_when_user_service_is_slow() {
    a_list_answers_in_time_while(SLOW).await;
}

#[tokio::test]
async fn lists_answer_in_time_when_user_service_fails() {
    a_list_answers_in_time_while(Behaviour::Failing).await;
}

#[tokio::test]
async fn lists_answer_in_time_when_user_service_sends_invalid_bodies() {
    a_list_answers_in_time_while(Behaviour::InvalidBody).await;
}

#[tokio::test]
async fn cached_names_outlive_user_service() {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    assert_eq!(names(&ann).await.0, ["bob"]);

    app.users.set_behaviour(Behaviour::Failing);

    assert_eq!(names(&ann).await.0, ["bob"]);
}

async fn requests_are_refused_while(behaviour: Behaviour) {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    app.users.set_behaviour(behaviour);

    let started = Instant::now();
    let refused = ann.request(2).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    assert!(refused.header("retry-after").is_some());
    let refused = refused.expect(503);
    assert_eq!(refused["error"], "service_unavailable");
    assert_eq!(refused["detail"], refused["message"], "a text, as in every refusal here");
    bob.block(1).await.expect(503);
    ann.client.get("/friends/search?query=bob").await.expect(503);
    assert_eq!(app.live_relations(1, 2).await, 0);

    app.users.set_behaviour(Behaviour::Normal);
    testkit::eventually("it is asked again", || async { (ann.request(2).await.status == 201).then_some(()) }).await;
}

#[tokio::test]
async fn a_request_is_503_when_user_service_is_slow() {
    requests_are_refused_while(SLOW).await;
}

#[tokio::test]
async fn a_request_is_503_when_user_service_fails() {
    requests_are_refused_while(Behaviour::Failing).await;
}

#[tokio::test]
async fn a_request_is_503_when_user_service_sends_invalid_bodies() {
    requests_are_refused_while(Behaviour::InvalidBody).await;
}

#[tokio::test]
async fn without_user_service_lists_answer_and_requests_are_503() {
    let app = TestApp::start().await;
    let (ann, _) = app.two_friends().await;
    let alone = app.replica(NOWHERE).await;
    let cara = app.stranger(3, "cara").at(&alone);

    assert_eq!(names(&ann.at(&alone)).await.0, ["Unknown"]);
    cara.request(1).await.expect(503);
    ann.at(&alone).unfriend(2).await.expect(200);
}

#[tokio::test]
async fn the_circuit_opens_while_user_service_fails_and_closes_afterwards() {
    let app = TestApp::start().await;
    let (ann, _) = app.ann_and_bob();
    app.users.set_behaviour(Behaviour::Failing);
    testkit::eventually("it is left alone", || async {
        let before = app.users.calls("").len();
        ann.request(2).await.expect(503);
        (app.users.calls("").len() == before).then_some(())
    })
    .await;
    assert_eq!(app.metric("user_service_circuit_open").await, 1.0);
    assert!(app.metric("user_service_calls_total{call=\"exists\",outcome=\"rejected\"}").await > 0.0);
    assert!(app.metric("user_service_calls_total{call=\"exists\",outcome=\"status\"}").await > 0.0);

    app.users.set_behaviour(Behaviour::Normal);
    testkit::eventually("calls go on", || async { (ann.request(2).await.status == 201).then_some(()) }).await;
    assert_eq!(app.metric("user_service_circuit_open").await, 0.0);
}

#[tokio::test]
async fn concurrent_lookups_share_one_call() {
    let app = TestApp::start().await;
    let (ann, bob) = app.two_friends().await;
    let cara = app.person(3, "cara");
    ann.befriend(&cara).await;
    let fresh = app.replica(&app.users.url()).await;
    let (ann, bob) = (ann.at(&fresh), bob.at(&fresh));
    app.users.set_behaviour(Behaviour::Slow(Duration::from_millis(100)));
    let before = app.users.calls("/batch").len();

    let lists = futures_util::future::join_all((0..20).map(|n| {
        let person = if n % 2 == 0 { &ann } else { &bob };
        async { names(person).await.0 }
    }));
    for (n, names) in lists.await.into_iter().enumerate() {
        assert_eq!(names, if n % 2 == 0 { vec!["bob", "cara"] } else { vec!["ann"] });
    }

    // The lookups for ann and bob may end up in two batches, but not in more.
    assert!(app.users.calls("/batch").len() - before <= 2);
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
        let call = &app.users.calls(path)[0];
        assert_eq!(call.request_id.as_deref(), Some("traced-7"), "{path}");
        let services = common::jwt::ServiceTokens::new(
            app.server.platform().config.service_secret_key.as_ref().unwrap(),
            "friend-service",
        );
        assert_eq!(services.verify(&call.token).as_deref(), Some("friend-service"), "{path}");
    }
}
