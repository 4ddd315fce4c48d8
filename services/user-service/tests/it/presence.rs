//! Presence and its events.

use secrecy::ExposeSecret;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{SLACK, eventually};

use crate::app::{Person, TestApp};

async fn is_online(person: &Person, of: i64) -> bool {
    person.client.get(&format!("/users/{of}")).await.expect(200)["is_online"] == true
}

#[tokio::test]
async fn a_login_and_a_logout_publish_one_event_each() {
    let app = TestApp::start_with_events(&[]).await;
    let (bob, ann) = (app.person("bob").await, app.person("ann").await);
    let other_device = app.log_in("ann").await;
    assert!(is_online(&bob, ann.id).await);

    other_device.client.post("/auth/logout", Value::Null).await.expect(200);
    // A request between the login of the person and this logout was a sign of life.
    assert!(is_online(&bob, ann.id).await, "another device shows signs of life");
    ann.client.post("/auth/logout", Value::Null).await.expect(200);

    assert!(!is_online(&bob, ann.id).await);
    let seen = bob.client.get(&format!("/users/{}", ann.id)).await.expect(200)["last_seen_at"].clone();
    assert!(seen.as_str().unwrap().ends_with('Z'));
    let events = app.status_events().expect("UserOnlineStatusChanged", 3).await;
    let of_ann: Vec<_> = events.iter().filter(|e| e["user_id"] == ann.id).map(|e| e["is_online"].clone()).collect();
    assert_eq!(of_ann, [json!(true), json!(false)]);
}

#[tokio::test]
async fn a_session_that_is_ended_by_its_id_ends_the_presence_as_a_logout_does() {
    let app = TestApp::start_with_events(&[]).await;
    let (bob, ann) = (app.person("bob").await, app.person("ann").await);
    let sessions = ann.client.get("/auth/sessions").await.expect(200);
    let sid = sessions[0]["sid"].as_str().unwrap();
    assert!(is_online(&bob, ann.id).await);

    ann.client.delete(&format!("/auth/sessions/{sid}")).await.expect(200);

    assert!(!is_online(&bob, ann.id).await);
    let events = app.status_events().expect("UserOnlineStatusChanged", 3).await;
    let of_ann: Vec<_> = events.iter().filter(|e| e["user_id"] == ann.id).map(|e| e["is_online"].clone()).collect();
    assert_eq!(of_ann, [json!(true), json!(false)]);
}

#[tokio::test]
async fn two_replicas_publish_one_offline_event_for_each_of_a_hundred_users() {
    expire(false).await;
}

#[tokio::test]
async fn two_replicas_publish_the_offline_events_after_redis_lost_its_data() {
    expire(true).await;
}

async fn expire(wiped: bool) {
    const TTL: Duration = Duration::from_secs(3);
    let app = TestApp::start_with_events(&[("ONLINE_TTL_SECONDS", "3")]).await;
    let _other = app.replica().await;
    let names: Vec<_> = (0..100).map(|n| format!("user{n}")).collect();
    let mut people = Vec::with_capacity(names.len());
    // A hundred hashes at once take longer than a request waits for a connection, and five may on a busy machine.
    for names in names.chunks(5) {
        let people_of_chunk = names.iter().map(|name| async {
            app.register(name).await;
            app.log_in_when_available(name).await
        });
        people.extend(join_all(people_of_chunk).await);
    }
    // The logins may have taken longer than the lifetime of the keys, so wait until all users are online at once.
    eventually("all hundred are online", || async {
        join_all(people.iter().map(|person| person.client.post("/auth/heartbeat", Value::Null))).await;
        (count(&app, "SELECT COUNT(*) FROM users WHERE is_online").await == 100).then_some(())
    })
    .await;
    let stopped = Instant::now();
    if wiped {
        app.wipe_redis().await;
    }

    eventually("all hundred are offline", || async {
        (count(&app, "SELECT COUNT(*) FROM users WHERE NOT is_online").await == 100).then_some(())
    })
    .await;
    assert!(stopped.elapsed() < SLACK * (TTL + Duration::from_secs(5)), "{:?}", stopped.elapsed());
    // With the token of a service, because a request of a user would mark that user online.
    let service = app.server.client(&app.space.service_token("friend-service", "user-service"));
    let ids: Vec<i64> = people.iter().map(|person| person.id).collect();
    let shown = service.post("/users/batch", json!({"user_ids": ids})).await.expect(200);
    assert!(shown.as_array().unwrap().iter().all(|p| p["is_online"] == false && p["last_seen_at"].is_string()));
    eventually("the outbox is empty", || async {
        (count(&app, "SELECT COUNT(*) FROM user_outbox").await == 0).then_some(())
    })
    .await;
    let events = app.status_events().all().await;
    for person in &people {
        let of = events.iter().filter(|event| event["user_id"] == person.id).map(|event| event["is_online"] == true);
        let of: Vec<bool> = of.collect();
        // The events alternate, begin with online and end with offline: none is repeated and none is missing.
        assert!(
            of.iter().enumerate().all(|(n, online)| *online == (n % 2 == 0)) && of.last() == Some(&false),
            "{of:?}"
        );
    }
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

#[tokio::test]
async fn heartbeats_keep_a_user_online() {
    let app = TestApp::start_with_events(&[("ONLINE_TTL_SECONDS", "2")]).await;
    let ann = app.person("ann").await;
    let until = Instant::now() + Duration::from_secs(5);

    while Instant::now() < until {
        ann.client.post("/auth/heartbeat", Value::Null).await.expect(204);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    assert_eq!(app.status_events().all().await.len(), 1);
}

#[tokio::test]
async fn any_request_brings_a_user_back_online() {
    let app = TestApp::start_with_events(&[("ONLINE_TTL_SECONDS", "3")]).await;
    let ann = app.person("ann").await;
    let changes = app.status_events();
    changes.expect("UserOnlineStatusChanged", 2).await;

    ann.client.get("/users/search?query=x").await.expect(200);

    let events = changes.expect("UserOnlineStatusChanged", 3).await;
    let statuses: Vec<_> = events.iter().map(|e| e["is_online"].clone()).collect();
    assert_eq!(&statuses[..3], [json!(true), json!(false), json!(true)]);
}

#[tokio::test]
async fn the_longer_lived_key_of_the_original_keeps_a_user_online() {
    let app = TestApp::start_with(&[("ONLINE_TTL_SECONDS", "1")]).await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let config = &app.server.platform().config;
    let client = redis::Client::open(config.redis_url.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}user:online:{}", config.redis_prefix, ann.id);
    redis::cmd("SET").arg(key).arg("login").arg("EX").arg(3600).query_async::<()>(&mut connection).await.unwrap();

    tokio::time::sleep(Duration::from_secs(3)).await;
    ann.client.get("/profile/me").await.expect(200);
    tokio::time::sleep(Duration::from_secs(3)).await;

    assert!(is_online(&bob, ann.id).await);
    let is_marked_online: bool =
        sqlx::query_scalar("SELECT is_online FROM users WHERE id = ?").bind(ann.id).fetch_one(&app.pool).await.unwrap();
    assert!(is_marked_online);
}

#[tokio::test]
async fn the_number_of_online_users_is_measured() {
    let app = TestApp::start().await;
    app.person("ann").await;
    app.person("bob").await;

    eventually("two are counted", || async {
        let metrics = app.anonymous().get("/metrics").await.text;
        metrics.contains(r#"online_users_count{service="user-service"} 2"#).then_some(())
    })
    .await;
}
