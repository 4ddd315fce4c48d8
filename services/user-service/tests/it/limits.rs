//! Rate limits on failed logins, failed refreshes and registrations.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use testkit::Answer;

use crate::app::{PASSWORD, TestApp, registration};

fn login(email: &str, password: &str) -> serde_json::Value {
    json!({"email": email, "password": password})
}

async fn guess(app: &TestApp, address: &str, password: &str) -> Answer {
    let from = app.anonymous().with_header("x-forwarded-for", address);
    from.post("/auth/login/json", login("ann@example.com", password)).await
}

#[tokio::test]
async fn wrong_passwords_from_one_network_do_not_lock_the_account_elsewhere() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3")]).await;
    app.register("ann").await;
    app.register("bob").await;
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"] {
        guess(&app, address, "wrong").await.expect(401);
    }

    let answer = guess(&app, "2001:db8::3", PASSWORD).await;

    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    assert_eq!(answer.expect(429)["error"], "rate_limit_exceeded");
    guess(&app, "2001:db8:0:1::1", PASSWORD).await.expect(200);
    guess(&app, "203.0.113.1", PASSWORD).await.expect(200);
    let same = app.anonymous().with_header("x-forwarded-for", "2001:db8::1");
    same.post("/auth/login/json", login("bob@example.com", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn wrong_passwords_from_many_networks_lock_only_new_networks_out() {
    let limits = [("LOGIN_LIMIT_ACCOUNT_FAILURES", "2"), ("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", "5")];
    let app = TestApp::start_with(&limits).await;
    app.register("ann").await;
    guess(&app, "203.0.113.1", PASSWORD).await.expect(200);
    for n in 2..=6 {
        guess(&app, &format!("203.0.113.{n}"), "wrong").await.expect(401);
    }

    guess(&app, "203.0.113.9", PASSWORD).await.expect(429);
    guess(&app, "203.0.113.1", "wrong").await.expect(401);
    guess(&app, "203.0.113.1", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_known_network_has_a_budget_and_is_forgotten_after_its_time() {
    let limits = [("LOGIN_LIMIT_ACCOUNT_FAILURES", "2"), ("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", "3")];
    let app = TestApp::start_with(&limits).await;
    app.register("ann").await;
    for known in ["203.0.113.1", "203.0.113.2"] {
        guess(&app, known, PASSWORD).await.expect(200);
    }
    app.execute("UPDATE user_login_networks SET last_login_at = NOW() - INTERVAL 31 DAY WHERE network LIKE '%.2'")
        .await;
    for n in 3..=5 {
        guess(&app, &format!("203.0.113.{n}"), "wrong").await.expect(401);
    }

    guess(&app, "203.0.113.2", PASSWORD).await.expect(429);
    for _ in 0..2 {
        guess(&app, "203.0.113.1", "wrong").await.expect(401);
    }
    guess(&app, "203.0.113.1", PASSWORD).await.expect(429);
}

#[tokio::test]
async fn an_address_without_an_account_is_limited_like_an_account() {
    let limits = [("LOGIN_LIMIT_ACCOUNT_FAILURES", "2"), ("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", "3")];
    let app = TestApp::start_with(&limits).await;
    let mut statuses = Vec::new();
    for address in ["203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        statuses.push(guess(&app, address, "wrong").await.status);
    }

    assert_eq!(statuses, [401, 401, 429, 401, 429]);
}

#[tokio::test]
async fn guesses_at_logins_do_not_stop_a_change_of_the_password() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "1")]).await;
    let ann = app.person("ann").await;
    app.anonymous().post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);
    app.anonymous().post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(429);

    let change = json!({"current_password": PASSWORD, "new_password": "An0ther-one!"});
    ann.client.put("/auth/password", change).await.expect(200);
}

#[tokio::test]
async fn failures_from_one_address_are_limited_across_accounts() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "3")]).await;
    app.register("ann").await;
    let failing = app.anonymous().with_header("x-forwarded-for", "203.0.113.1");
    failing.post("/auth/login/json", login("a@example.com", "wrong")).await.expect(401);
    failing.post("/auth/login/json", login("b@example.com", "wrong")).await.expect(401);
    failing.post("/auth/refresh", json!({"refresh_token": "unknown"})).await.expect(401);

    failing.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(429);
    failing.post("/auth/refresh", json!({"refresh_token": "unknown"})).await.expect(429);

    let other = app.anonymous().with_header("x-forwarded-for", "203.0.113.2");
    other.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn failures_of_others_in_the_network_delay_no_refresh() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "2")]).await;
    app.register("ann").await;
    let network = app.anonymous().with_header("x-forwarded-for", "203.0.113.1");
    let tokens = network.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
    for _ in 0..2 {
        network.post("/auth/login/json", login("bob@example.com", "wrong")).await.expect(401);
    }
    network.post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(429);

    let refresh = async |tokens: &serde_json::Value| {
        network.post("/auth/refresh", json!({"refresh_token": tokens["refresh_token"]})).await
    };
    let second = refresh(&tokens).await.expect(200);
    let third = refresh(&second).await.expect(200);
    // An older token is a stolen one, and ends the session.
    refresh(&tokens).await.expect(429);
    refresh(&third).await.expect(429);
    let me = app.anonymous().with_token(third["access_token"].as_str().unwrap());
    me.get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn networks_of_a_thief_are_forgotten_with_a_new_password() {
    let limits = [("LOGIN_LIMIT_ACCOUNT_FAILURES", "2"), ("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", "4")];
    let app = TestApp::start_with(&limits).await;
    app.register("ann").await;
    let [owner, first, second] = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    let tokens = guess(&app, owner, PASSWORD).await.expect(200);
    for network in [first, second] {
        guess(&app, network, PASSWORD).await.expect(200);
    }
    let ann = app.anonymous().with_token(tokens["access_token"].as_str().unwrap());
    let ann = ann.with_header("x-forwarded-for", owner);
    let change = json!({"current_password": PASSWORD, "new_password": "Another1234!@"});
    ann.put("/auth/password", change).await.expect(200);

    for network in [first, second, first, second] {
        guess(&app, network, "wrong").await.expect(401);
    }

    guess(&app, owner, "Another1234!@").await.expect(200);
}

#[tokio::test]
async fn failures_from_one_ipv6_network_are_limited_across_its_addresses() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "3")]).await;
    app.register("ann").await;
    let from = |address: &str| app.anonymous().with_header("x-forwarded-for", address);
    for n in 1..=3 {
        let failing = from(&format!("2001:db8:0:1:{n}::{n}"));
        failing.post("/auth/login/json", login(&format!("{n}@example.com"), "wrong")).await.expect(401);
    }

    from("2001:db8:0:1:ffff::1").post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(429);
    from("2001:db8:0:2::1").post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn a_login_succeeds_after_the_window_has_passed() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "1"), ("LOGIN_LIMIT_WINDOW_SECONDS", "1")]).await;
    app.register("ann").await;
    app.anonymous().post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);

    testkit::eventually("the window has passed", || async {
        let answer = app.anonymous().post("/auth/login/json", login("ann@example.com", PASSWORD)).await;
        answer.ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_failures_count_and_a_successful_login_resets_them() {
    let app =
        TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "3"), ("LOGIN_LIMIT_ADDRESS_FAILURES", "8")]).await;
    app.register("ann").await;
    for _ in 0..10 {
        app.anonymous().post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
    }
    for _ in 0..3 {
        for _ in 0..2 {
            app.anonymous().post("/auth/login/json", login("ann@example.com", "wrong")).await.expect(401);
        }
        app.anonymous().post("/auth/login/json", login("ann@example.com", PASSWORD)).await.expect(200);
    }
}

#[tokio::test]
async fn of_concurrent_guesses_no_more_than_the_limit_are_answered() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ACCOUNT_FAILURES", "5")]).await;
    app.register("ann").await;
    let guesses = (0..60).map(|n| {
        let (client, guess) = (app.anonymous(), format!("guess-{n}"));
        async move { client.post("/auth/login/json", login("ann@example.com", &guess)).await.status }
    });

    let statuses = join_all(guesses).await;

    let answered = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(answered, 5);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 55);
}

#[tokio::test]
async fn registrations_from_one_address_are_limited() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_REGISTRATIONS", "2")]).await;
    app.register("ann").await;
    app.register("bob").await;

    let answer = app.anonymous().post("/auth/register", registration("cat")).await;

    assert!(answer.header("retry-after").is_some());
    answer.expect(429);
    let elsewhere = app.anonymous().with_header("x-forwarded-for", "203.0.113.9");
    elsewhere.post("/auth/register", registration("cat")).await.expect(201);
}

#[tokio::test]
async fn wrong_current_passwords_in_a_password_change_are_limited() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_PASSWORD_FAILURES", "2")]).await;
    let ann = app.person("ann").await;
    let guess = json!({"current_password": "wrong", "new_password": "An0ther-one!"});
    ann.client.put("/auth/password", guess.clone()).await.expect(400);
    ann.client.put("/auth/password", guess.clone()).await.expect(400);

    ann.client.put("/auth/password", guess).await.expect(429);
}

#[tokio::test]
async fn a_client_that_is_no_trusted_proxy_cannot_set_its_address() {
    let app = TestApp::start_with(&[("LOGIN_LIMIT_ADDRESS_FAILURES", "2"), ("TRUSTED_PROXIES", "")]).await;
    let mut statuses = Vec::new();
    for n in 1..=3 {
        let client = app.anonymous().with_header("x-forwarded-for", &format!("203.0.113.{n}"));
        let answer = client.post("/auth/login/json", login(&format!("a{n}@example.com"), "wrong")).await;
        statuses.push(answer.status);
    }

    assert_eq!(statuses, [401, 401, 429]);
}

#[tokio::test]
async fn a_full_hashing_queue_rejects_a_login_at_once() {
    let slow = [("ARGON2_MEMORY_KIB", "8192"), ("ARGON2_ITERATIONS", "20"), ("LOGIN_LIMIT_ADDRESS_FAILURES", "0")];
    let app = TestApp::start_with(&slow).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut logins: FuturesUnordered<_> = (0..cores * 150)
        .map(|n| {
            let client = app.anonymous();
            async move { client.post("/auth/login/json", login(&format!("a{n}@example.com"), "x")).await }
        })
        .collect();

    let rejected = loop {
        let answer = logins.next().await.expect("one login is rejected");
        if answer.status != 401 {
            break answer;
        }
    };

    assert!(rejected.header("retry-after").is_some());
    assert_eq!(rejected.expect(503)["error"], "service_unavailable");
    // The jobs of dropped requests are skipped.
    drop(logins);
    app.anonymous().get("/health").await.expect(200);
}
