//! Revocations in a Redis that loses its data, as services see them that cannot ask MySQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::id::UserId;
use engines::redis::Redis;
use redis::AsyncCommands;
use service::auth::Revocations;
use testkit::Space;

use crate::SERVICE;

const ANN: UserId = UserId(1);

fn replica(space: &Space) -> (Revocations, Redis) {
    let platform = space.platform(SERVICE, space.env("mysql://a@b/c"));
    let (config, metrics) = (&platform.config, &platform.metrics);
    let redis = Redis::new(&config.redis_url, &config.redis_tls, &config.redis_prefix, metrics).unwrap();
    (Revocations::new(redis.clone(), None, metrics).unwrap(), redis)
}

/// Copies two revoked sessions, as user-service does.
async fn copy(revocations: &Revocations) {
    let copy = revocations.begin_copy().await.unwrap();
    let sessions = ["first", "second"].map(|session| (session.to_owned(), Duration::from_secs(600)));
    revocations.revoke(&sessions).await.unwrap();
    revocations.finish_copy(copy).await.unwrap();
}

async fn lose_all(redis: &Redis) {
    let keys = ["session:known", "session:revoked:first", "session:revoked:second"];
    let keys = keys.map(|key| redis.key(format_args!("{key}")));
    assert_eq!(redis.connection().del::<_, usize>(&keys[..]).await.unwrap(), 3);
}

/// A replica that has seen the whole copy before Redis loses it, and has cached neither of the sessions.
async fn after_the_loss(space: &Space, user_service: &Revocations) -> Revocations {
    copy(user_service).await;
    let (revocations, redis) = replica(space);
    assert!(!revocations.revoked(&Arc::from("other"), ANN).await);
    lose_all(&redis).await;
    revocations
}

#[tokio::test]
async fn a_revoked_session_stays_revoked_while_a_lost_copy_is_made_again() {
    let space = Space::new();
    let (user_service, _) = replica(&space);
    let revocations = after_the_loss(&space, &user_service).await;

    let (first, second) = (Arc::from("first"), Arc::from("second"));
    let copied_later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        copy(&user_service).await;
    };
    let found = tokio::join!(revocations.revoked(&first, ANN), revocations.revoked(&second, ANN), copied_later);

    assert_eq!(found, (true, true, ()));
}

/// Without user-service nobody copies: the signature and expiry of a token decide, and only the first request waits.
#[tokio::test]
async fn requests_do_not_wait_for_ever_for_a_lost_copy() {
    let space = Space::new();
    let (user_service, _) = replica(&space);
    let revocations = after_the_loss(&space, &user_service).await;

    let started = Instant::now();
    assert!(!revocations.revoked(&Arc::from("first"), ANN).await);
    let first = started.elapsed();
    assert!(!revocations.revoked(&Arc::from("second"), ANN).await);
    let second = started.elapsed() - first;

    assert!(first >= Duration::from_secs(3) && second < first, "{first:?}, {second:?}");
}
