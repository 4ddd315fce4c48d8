//! Who is online, and how often that is told.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{SLACK, eventually};

use crate::stage::{Person, Stage};

async fn is_online(person: &Person, of: i64) -> bool {
    person.client.get(&format!("/users/{of}")).await.expect(200)["is_online"] == true
}

#[tokio::test]
async fn login_and_logout_are_told_once_each() {
    let stage = Stage::with_events(&[]).await;
    let (bob, ann) = (stage.person("bob").await, stage.person("ann").await);
    stage.log_in("ann").await;
    assert!(is_online(&bob, ann.id).await);

    ann.client.post("/auth/logout", Value::Null).await.expect(200);

    assert!(!is_online(&bob, ann.id).await);
    let seen = bob.client.get(&format!("/users/{}", ann.id)).await.expect(200)["last_seen_at"].clone();
    assert!(seen.as_str().unwrap().ends_with('Z'));
    let told = stage.status_events().expect("UserOnlineStatusChanged", 3).await;
    let of_ann: Vec<_> = told.iter().filter(|e| e["user_id"] == ann.id).map(|e| e["is_online"].clone()).collect();
    assert_eq!(of_ann, [json!(true), json!(false)]);
}

#[tokio::test]
async fn a_hundred_whose_heartbeats_stop_are_told_offline_once_each_by_two_replicas() {
    expire(false).await;
}

#[tokio::test]
async fn so_they_are_when_redis_forgets_everything_in_between() {
    expire(true).await;
}

async fn expire(wiped: bool) {
    const TTL: Duration = Duration::from_secs(3);
    let stage = Stage::with_events(&[("ONLINE_TTL_SECONDS", "3")]).await;
    let _other = stage.replica().await;
    let names: Vec<_> = (0..100).map(|n| format!("user{n}")).collect();
    let people = join_all(names.iter().map(|name| stage.person(name))).await;
    // However long that took: now all are online, and told so.
    eventually("all hundred are online", || async {
        join_all(people.iter().map(|person| person.client.post("/auth/heartbeat", Value::Null))).await;
        (count(&stage, "SELECT COUNT(*) FROM users WHERE is_online").await == 100).then_some(())
    })
    .await;
    let stopped = Instant::now();
    if wiped {
        stage.wipe_redis().await;
    }

    eventually("all hundred are offline", || async {
        (count(&stage, "SELECT COUNT(*) FROM users WHERE NOT is_online").await == 100).then_some(())
    })
    .await;
    assert!(stopped.elapsed() < SLACK * (TTL + Duration::from_secs(5)), "{:?}", stopped.elapsed());
    // A service looks: a person who does would come back online.
    let service = stage.server.client(&stage.space.service_token("friend-service"));
    let ids: Vec<i64> = people.iter().map(|person| person.id).collect();
    let shown = service.post("/users/batch", json!({"user_ids": ids})).await.expect(200);
    assert!(shown.as_array().unwrap().iter().all(|p| p["is_online"] == false && p["last_seen_at"].is_string()));
    eventually("the outbox is empty", || async {
        (count(&stage, "SELECT COUNT(*) FROM user_outbox").await == 0).then_some(())
    })
    .await;
    let told = stage.status_events().all().await;
    for person in &people {
        let of = told.iter().filter(|event| event["user_id"] == person.id).map(|event| event["is_online"] == true);
        let of: Vec<bool> = of.collect();
        // On and off in turn: no change is told twice, none is left out, and the last is the one off.
        assert!(
            of.iter().enumerate().all(|(n, online)| *online == (n % 2 == 0)) && of.last() == Some(&false),
            "{of:?}"
        );
    }
}

async fn count(stage: &Stage, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn a_heartbeat_keeps_one_online() {
    let stage = Stage::with_events(&[("ONLINE_TTL_SECONDS", "2")]).await;
    let ann = stage.person("ann").await;
    let until = Instant::now() + Duration::from_secs(5);

    while Instant::now() < until {
        ann.client.post("/auth/heartbeat", Value::Null).await.expect(204);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    assert_eq!(stage.status_events().all().await.len(), 1);
}

#[tokio::test]
async fn any_request_brings_one_back_online() {
    let stage = Stage::with_events(&[("ONLINE_TTL_SECONDS", "3")]).await;
    let ann = stage.person("ann").await;
    let changes = stage.status_events();
    changes.expect("UserOnlineStatusChanged", 2).await;

    ann.client.get("/users/search?query=x").await.expect(200);

    let told = changes.expect("UserOnlineStatusChanged", 3).await;
    let statuses: Vec<_> = told.iter().map(|e| e["is_online"].clone()).collect();
    assert_eq!(&statuses[..3], [json!(true), json!(false), json!(true)]);
}

#[tokio::test]
async fn the_longer_key_of_an_original_keeps_one_online() {
    let stage = Stage::with(&[("ONLINE_TTL_SECONDS", "1")]).await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    let config = &stage.server.platform().config;
    let client = redis::Client::open(config.redis_url.expose()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}user:online:{}", config.redis_prefix, ann.id);
    redis::cmd("SET").arg(key).arg("login").arg("EX").arg(3600).query_async::<()>(&mut connection).await.unwrap();

    tokio::time::sleep(Duration::from_secs(3)).await;
    ann.client.get("/profile/me").await.expect(200);
    tokio::time::sleep(Duration::from_secs(3)).await;

    assert!(is_online(&bob, ann.id).await);
    let told: bool = sqlx::query_scalar("SELECT is_online FROM users WHERE id = ?")
        .bind(ann.id)
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert!(told);
}

#[tokio::test]
async fn the_number_of_those_online_is_measured() {
    let stage = Stage::start().await;
    stage.person("ann").await;
    stage.person("bob").await;

    eventually("two are counted", || async {
        let metrics = stage.stranger().get("/metrics").await.text;
        metrics.contains(r#"online_users_count{service="user-service"} 2"#).then_some(())
    })
    .await;
}
