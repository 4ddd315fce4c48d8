//! Limits on failures.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::stage::{PASSWORD, Stage, registration};

fn login(email: &str, password: &str) -> serde_json::Value {
    json!({"email": email, "password": password})
}

#[tokio::test]
async fn an_account_bears_so_many_wrong_passwords_from_wherever_they_come() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3")]).await;
    stage.register("ann").await;
    stage.register("bob").await;
    for n in 1..=3 {
        let from = stage.stranger().with_header("x-forwarded-for", &format!("203.0.113.{n}"));
        from.post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);
    }

    let answer = stage.stranger().post("/auth/login/json", login("ANN@example.com", PASSWORD)).await;

    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    assert_eq!(answer.expect(429)["error"], "rate_limit_exceeded");
    stage.stranger().post("/auth/login/json", login("bob@example.com", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn an_address_bears_so_many_failures_for_whatever_accounts() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "3")]).await;
    stage.register("ann").await;
    let bad = stage.stranger().with_header("x-forwarded-for", "203.0.113.1");
    bad.post("/auth/login/json", login("a@example.com", "wrong")).await.expect(401);
    bad.post("/auth/login/json", login("b@example.com", "wrong")).await.expect(401);
    bad.post("/auth/refresh", json!({"refresh_token": "unknown"})).await.expect(401);

    bad.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(429);
    bad.post("/auth/refresh", json!({"refresh_token": "unknown"})).await.expect(429);

    let good = stage.stranger().with_header("x-forwarded-for", "203.0.113.2");
    good.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn the_window_passes() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "1"), ("LOGIN_LIMIT_WINDOW_SECONDS", "1")]).await;
    stage.register("ann").await;
    stage.stranger().post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);

    testkit::eventually("the window has passed", || async {
        let answer = stage.stranger().post("/auth/login/json", login("ann@example.com", PASSWORD)).await;
        answer.ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_failures_count_and_a_success_forgives_them() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3"), ("LOGIN_LIMIT_ADDRESS_FAILURES", "8")]).await;
    stage.register("ann").await;
    for _ in 0..10 {
        stage.stranger().post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
    }
    for _ in 0..3 {
        for _ in 0..2 {
            stage.stranger().post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);
        }
        stage.stranger().post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
    }
}

#[tokio::test]
async fn guesses_made_at_once_are_answered_no_more_than_the_limit_allows() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "5")]).await;
    stage.register("ann").await;
    let guesses = (0..60).map(|n| {
        let (client, guess) = (stage.stranger(), format!("guess-{n}"));
        async move { client.post("/auth/login/json", login("ann@example.com", &guess)).await.status }
    });

    let statuses = join_all(guesses).await;

    let answered = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(answered, 5);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 55);
}

#[tokio::test]
async fn registrations_from_one_address_are_bounded() {
    let stage = Stage::with(&[("LOGIN_LIMIT_REGISTRATIONS", "2")]).await;
    stage.register("ann").await;
    stage.register("bob").await;

    let answer = stage.stranger().post("/auth/register", registration("cat")).await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(429);
    let elsewhere = stage.stranger().with_header("x-forwarded-for", "203.0.113.9");
    elsewhere.post("/auth/register", registration("cat")).await.expect(201);
}

#[tokio::test]
async fn a_stolen_session_cannot_try_passwords_without_end() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "2")]).await;
    let ann = stage.person("ann").await;
    let guess = json!({"current_password": "wrong", "new_password": "An0ther-one!"});
    ann.client.put("/auth/password", guess.clone()).await.expect(400);
    ann.client.put("/auth/password", guess.clone()).await.expect(400);

    ann.client.put("/auth/password", guess).await.expect(429);
}

#[tokio::test]
async fn only_a_proxy_of_ours_may_say_where_a_request_comes_from() {
    let stage = Stage::with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "2"), ("TRUSTED_PROXIES", "")]).await;
    let mut statuses = Vec::new();
    for n in 1..=3 {
        let claims = stage.stranger().with_header("x-forwarded-for", &format!("203.0.113.{n}"));
        let answer = claims.post("/auth/login/json", login(&format!("a{n}@example.com"), "wrong")).await;
        statuses.push(answer.status);
    }

    assert_eq!(statuses, [401, 401, 429]);
}

#[tokio::test]
async fn more_passwords_than_the_machine_can_hash_are_refused_at_once() {
    let slow = [("ARGON2_MEMORY_KIB", "8192"), ("ARGON2_ITERATIONS", "20"), ("LOGIN_LIMIT_ADDRESS_FAILURES", "0")];
    let stage = Stage::with(&slow).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut crowd: FuturesUnordered<_> = (0..cores * 150)
        .map(|n| {
            let client = stage.stranger();
            async move { client.post("/auth/login/json", login(&format!("a{n}@example.com"), "x")).await }
        })
        .collect();

    let refused = loop {
        let answer = crowd.next().await.expect("someone is refused");
        if answer.status != 401 {
            break answer;
        }
    };

    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(503)["error"], "service_unavailable");
    // Nobody waits for the others any more, and so nobody hashes for them.
    drop(crowd);
    stage.stranger().get("/health").await.expect(200);
}
