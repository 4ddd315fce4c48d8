//! A user-service that is slow, broken, talks nonsense, or is not there.

use std::time::{Duration, Instant};

use testkit::SLACK;

use crate::stage::{Person, Stage};
use crate::users::Mood;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A list takes at most 300 ms, whatever user-service does.
const IN_TIME: Duration = Duration::from_millis(SLACK as u64 * 300);

const SLOW: Mood = Mood::Slow(Duration::from_secs(5));

/// The names in the list, and how long it took.
async fn names(person: &Person) -> (Vec<String>, Duration) {
    let started = Instant::now();
    let list = person.client.get("/friends/list").await.expect(200);
    let names = list.as_array().unwrap().iter().map(|friend| friend["username"].as_str().unwrap().to_owned());
    (names.collect(), started.elapsed())
}

async fn a_list_answers_in_time_while(mood: Mood) {
    let stage = Stage::start().await;
    let (ann, _) = stage.two_friends().await;
    let fresh = stage.replica(&stage.users.url()).await;
    stage.users.be(mood);

    // A loaded machine may stumble, not each time.
    let mut took = Vec::new();
    while took.len() < 10 && took.last().is_none_or(|took| *took >= IN_TIME) {
        let (names, time) = names(&ann.at(&fresh)).await;
        assert_eq!(names, ["Unknown"]);
        took.push(time);
    }
    assert!(took.last().is_some_and(|took| *took < IN_TIME), "{took:?}");
}

#[tokio::test]
async fn lists_answer_in_time_when_it_is_slow() {
    a_list_answers_in_time_while(SLOW).await;
}

#[tokio::test]
async fn lists_answer_in_time_when_it_is_broken() {
    a_list_answers_in_time_while(Mood::Broken).await;
}

#[tokio::test]
async fn lists_answer_in_time_when_it_talks_nonsense() {
    a_list_answers_in_time_while(Mood::Garbage).await;
}

#[tokio::test]
async fn names_that_are_known_outlive_user_service() {
    let stage = Stage::start().await;
    let (ann, _) = stage.two_friends().await;
    assert_eq!(names(&ann).await.0, ["bob"]);

    stage.users.be(Mood::Broken);

    assert_eq!(names(&ann).await.0, ["bob"]);
}

async fn nobody_is_asked_blindly_while(mood: Mood) {
    let stage = Stage::start().await;
    let (ann, bob) = stage.ann_and_bob();
    stage.users.be(mood);

    let started = Instant::now();
    let refused = ann.request(2).await;
    assert!(started.elapsed() < SLACK * Duration::from_secs(5));
    assert!(refused.header("retry-after").is_some());
    let refused = refused.expect(503);
    assert_eq!(refused["error"], "service_unavailable");
    assert_eq!(refused["detail"], refused["message"], "a text, as in every refusal here");
    bob.block(1).await.expect(503);
    ann.client.get("/friends/search?query=bob").await.expect(503);
    assert_eq!(stage.live_relations(1, 2).await, 0);

    stage.users.be(Mood::Well);
    testkit::eventually("it is asked again", || async { (ann.request(2).await.status == 201).then_some(()) }).await;
}

#[tokio::test]
async fn a_request_is_503_when_it_is_slow() {
    nobody_is_asked_blindly_while(SLOW).await;
}

#[tokio::test]
async fn a_request_is_503_when_it_is_broken() {
    nobody_is_asked_blindly_while(Mood::Broken).await;
}

#[tokio::test]
async fn a_request_is_503_when_it_talks_nonsense() {
    nobody_is_asked_blindly_while(Mood::Garbage).await;
}

#[tokio::test]
async fn without_any_user_service_lists_answer_and_requests_do_not() {
    let stage = Stage::start().await;
    let (ann, _) = stage.two_friends().await;
    let alone = stage.replica(NOWHERE).await;
    let cara = stage.stranger(3, "cara").at(&alone);

    assert_eq!(names(&ann.at(&alone)).await.0, ["Unknown"]);
    cara.request(1).await.expect(503);
    ann.at(&alone).unfriend(2).await.expect(200);
}

#[tokio::test]
async fn calls_rest_while_it_fails_and_go_on_when_it_is_well() {
    let stage = Stage::start().await;
    let (ann, _) = stage.ann_and_bob();
    stage.users.be(Mood::Broken);
    testkit::eventually("it is left alone", || async {
        let before = stage.users.calls("").len();
        ann.request(2).await.expect(503);
        (stage.users.calls("").len() == before).then_some(())
    })
    .await;
    assert_eq!(stage.metric("user_service_circuit_open").await, 1.0);
    assert!(stage.metric("user_service_calls_total{call=\"exists\",outcome=\"rejected\"}").await > 0.0);
    assert!(stage.metric("user_service_calls_total{call=\"exists\",outcome=\"status\"}").await > 0.0);

    stage.users.be(Mood::Well);
    testkit::eventually("calls go on", || async { (ann.request(2).await.status == 201).then_some(()) }).await;
    assert_eq!(stage.metric("user_service_circuit_open").await, 0.0);
}

#[tokio::test]
async fn what_many_ask_at_once_is_asked_once() {
    let stage = Stage::start().await;
    let (ann, bob) = stage.two_friends().await;
    let cara = stage.person(3, "cara");
    ann.befriend(&cara).await;
    let fresh = stage.replica(&stage.users.url()).await;
    let (ann, bob) = (ann.at(&fresh), bob.at(&fresh));
    stage.users.be(Mood::Slow(Duration::from_millis(100)));
    let before = stage.users.calls("/batch").len();

    let lists = futures_util::future::join_all((0..20).map(|n| {
        let person = if n % 2 == 0 { &ann } else { &bob };
        async { names(person).await.0 }
    }));
    for (n, names) in lists.await.into_iter().enumerate() {
        assert_eq!(names, if n % 2 == 0 { vec!["bob", "cara"] } else { vec!["ann"] });
    }

    // Ann's and bob's friends may just miss each other's flight, no more.
    assert!(stage.users.calls("/batch").len() - before <= 2);
}

#[tokio::test]
async fn calls_are_signed_and_carry_the_request_id() {
    let stage = Stage::start().await;
    let (ann, _) = stage.ann_and_bob();

    ann.client
        .with_header("x-request-id", "traced-7")
        .post("/friends/request", serde_json::json!({"user_id_2": 2}))
        .await
        .expect(201);

    for path in ["/exists", "/batch"] {
        let call = &stage.users.calls(path)[0];
        assert_eq!(call.request_id.as_deref(), Some("traced-7"), "{path}");
        let services = common::auth::ServiceTokens::new(
            stage.server.platform().config.service_secret_key.as_ref().unwrap(),
            "friend-service",
        );
        assert_eq!(services.verify(&call.token).as_deref(), Some("friend-service"), "{path}");
    }
}
