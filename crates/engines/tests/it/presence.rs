//! The keys of presence and the set of their expiries.

use std::time::{Duration, Instant};

use common::id::UserId;
use engines::presence::Presence;
use engines::redis::Redis;
use platform::config::TlsFiles;
use redis::AsyncCommands;
use uuid::Uuid;

use crate::support::{metrics, setting, until};

fn presence(ttl: Duration) -> Presence {
    Presence::new(redis(), ttl)
}

fn redis() -> Redis {
    let prefix = format!("{}:", Uuid::now_v7().simple());
    Redis::new(&setting("REDIS_URL").into(), &TlsFiles::default(), &prefix, &metrics()).unwrap()
}

#[tokio::test]
async fn a_user_without_a_sign_of_life_expires_and_is_removed() {
    let presence = presence(Duration::from_secs(1));
    let (ann, bob) = (UserId(1), UserId(2));
    presence.write(ann, None).await.unwrap();
    assert_eq!(presence.try_online(&[bob, ann]).await.unwrap(), [false, true]);
    assert_eq!(presence.seen_within(Duration::from_secs(60)).await.unwrap(), [ann]);
    assert_eq!(presence.count_online().await.unwrap(), 1);

    until("an expired key", || async {
        let due = presence.due(10).await.unwrap();
        presence.expired(&due).await.unwrap().iter().any(|entry| entry.user == ann)
    })
    .await;
    let due = presence.due(10).await.unwrap();
    presence.remove(&due).await.unwrap();
    assert_eq!(presence.due(10).await.unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_a_sign_of_life_has_moved_is_not_removed() {
    let presence = presence(Duration::from_secs(1));
    let ann = UserId(1);
    presence.write(ann, None).await.unwrap();
    until("a due entry", || async { !presence.due(10).await.unwrap().is_empty() }).await;
    let due = presence.due(10).await.unwrap();

    presence.write(ann, None).await.unwrap();
    presence.remove(&due).await.unwrap();

    assert_eq!(presence.count_online().await.unwrap(), 1);
}

#[tokio::test]
async fn a_new_redis_is_reported_once() {
    let presence = presence(Duration::from_secs(60));
    assert_eq!([presence.is_redis_new().await.unwrap(), presence.is_redis_new().await.unwrap()], [true, false]);
    presence.expect_signs_of_life(&[UserId(1)]).await.unwrap();
    assert_eq!(presence.count_online().await.unwrap(), 1);
    assert!(presence.end_session(UserId(1), "of no sign of life").await.unwrap());
    assert_eq!(presence.count_online().await.unwrap(), 0);
}

#[tokio::test]
async fn presence_ends_with_the_last_session_that_shows_signs_of_life() {
    let presence = presence(Duration::from_secs(2));
    let (ann, phone, laptop, lost) = (UserId(1), "phone".into(), "laptop".into(), "lost".into());
    let recorded = async |session: &std::sync::Arc<str>| {
        presence.write(ann, Some(session)).await.unwrap();
    };
    recorded(&lost).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    recorded(&phone).await;
    recorded(&laptop).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;

    assert!(!presence.end_session(ann, &phone).await.unwrap());
    assert_eq!(presence.try_online(&[ann]).await.unwrap(), [true]);
    assert!(presence.end_session(ann, &laptop).await.unwrap(), "the lost device shows no sign of life");
    assert_eq!(presence.try_online(&[ann]).await.unwrap(), [false]);
    assert_eq!(presence.count_online().await.unwrap(), 0);
}

#[tokio::test]
async fn each_session_of_a_user_is_recorded_within_the_interval_of_another() {
    let presence = presence(Duration::from_secs(60));
    let (ann, phone, laptop) = (UserId(1), "phone".into(), "laptop".into());
    presence.touch(ann, &phone).await;
    until("a written key", || async { presence.try_online(&[ann]).await.unwrap() == [true] }).await;
    presence.touch(ann, &laptop).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    assert!(!presence.end_session(ann, &phone).await.unwrap());
    assert!(presence.end_session(ann, &laptop).await.unwrap());
}

#[tokio::test]
async fn a_session_that_holds_streams_is_written_again_before_half_of_the_life_of_its_presence_has_passed() {
    let (ann, phone, redis) = (UserId(1), "phone".into(), redis());
    let long = Presence::new(redis.clone(), Duration::from_secs(60));
    let streams = [(ann, phone), (ann, "phone".into())];
    long.touch_all(streams.clone(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(long.try_online(&[ann]).await.unwrap(), [true]);
    let forget = || async { redis.connection().del::<_, ()>(long.key(ann)).await.unwrap() };
    forget().await;
    long.touch_all(streams.clone(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(long.try_online(&[ann]).await.unwrap(), [false], "the session can wait for the next call");

    let short = Presence::new(redis.clone(), Duration::from_secs(4));
    short.touch_all(streams.clone(), Duration::from_secs(1)).await.unwrap();
    let written = Instant::now();
    forget().await;
    until("another sign of life", || async {
        short.touch_all(streams.clone(), Duration::from_secs(1)).await.unwrap();
        short.try_online(&[ann]).await.unwrap() == [true]
    })
    .await;
    assert!(written.elapsed() >= Duration::from_millis(1_900), "written again after {:?}", written.elapsed());
}
