//! The keys of presence and the set of their expiries.

use std::time::Duration;

use common::id::UserId;
use engines::presence::Presence;
use engines::redis::Redis;
use uuid::Uuid;

use crate::support::{metrics, setting, until};

fn presence(ttl: Duration) -> Presence {
    let prefix = format!("{}:", Uuid::now_v7().simple());
    Presence::new(Redis::new(&setting("REDIS_URL").into(), &prefix, &metrics()).unwrap(), ttl)
}

#[tokio::test]
async fn a_user_without_a_sign_of_life_expires_and_is_removed() {
    let presence = presence(Duration::from_secs(1));
    let (ann, bob) = (UserId(1), UserId(2));
    presence.write(ann).await.unwrap();
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
    presence.write(ann).await.unwrap();
    until("a due entry", || async { !presence.due(10).await.unwrap().is_empty() }).await;
    let due = presence.due(10).await.unwrap();

    presence.write(ann).await.unwrap();
    presence.remove(&due).await.unwrap();

    assert_eq!(presence.count_online().await.unwrap(), 1);
}

#[tokio::test]
async fn a_new_redis_is_reported_once() {
    let presence = presence(Duration::from_secs(60));
    assert_eq!([presence.is_redis_new().await.unwrap(), presence.is_redis_new().await.unwrap()], [true, false]);
    presence.expect_signs_of_life(&[UserId(1)]).await.unwrap();
    assert_eq!(presence.count_online().await.unwrap(), 1);
    presence.clear(UserId(1)).await.unwrap();
    assert_eq!(presence.count_online().await.unwrap(), 0);
}
