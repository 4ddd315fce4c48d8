//! Requests, friendships and blocks: how two people relate.
//!
//! A change locks the pair's row ([`store::Pairs`]), is judged by the rules ([`domain`]), and commits together with its
//! event. Who people are is user-service's to say; [`events`] keeps what we remember of it fresh.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should say where"))]

mod api;
mod config;
mod domain;
mod events;
mod store;

use axum::Router;
use axum::extract::FromRef;

use common::auth::Auth;
use common::clients::user::UserClient;
use common::http::{Detail, Service};
use common::kafka::producer::Producer;
use common::mysql;
use common::outbox::Outbox;
use common::platform::{Failure, Platform};
use common::presence::Presence;
use common::redis::Redis;
use prometheus::IntCounterVec;

pub use config::Config;

use crate::store::{Blocks, Friendships, Names, Pairs};

pub const SERVICE: Service = Service {
    name: "friend-service",
    title: "Friend Service",
    port: 8003,
    refusals: Detail::Text,
    password_flow: false,
};

/// What handlers work with.
#[derive(Clone)]
pub struct AppState {
    auth: Auth,
    users: UserClient,
    presence: Presence,
    friendships: Friendships,
    blocks: Blocks,
    names: Names,
    requests: IntCounterVec,
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}

/// Builds the service and starts its background work; no engine has to be there yet.
pub async fn app(platform: Platform, config: Config) -> Result<Router, Failure> {
    let (base, registry) = (&platform.config, platform.metrics.registry());
    let redis = Redis::new(&base.redis_url, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "friend", || sqlx::migrate!());

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let auth = Auth::new(&platform, &redis, presence.clone())?;
    let users =
        UserClient::new(config.user_service_url, base.http_timeout, config.profile_ttl, &auth, &platform.metrics)?
            .with_existence_ttl(config.existence_ttl);
    let producer = Producer::new(&base.kafka, registry)?;
    let outbox = Outbox::new(pool.clone(), "friend", producer.clone(), base.kafka.topics.clone(), &platform.metrics);

    let names = Names::new(pool.clone());

    events::start(&platform, &producer, names.clone(), users.clone())?;
    platform.shutdown.spawn(store::tell_of_merged(pool.clone(), platform.shutdown.stopping_token()));
    platform.shutdown.spawn({
        let (outbox, stopping) = (outbox.clone(), platform.shutdown.stopping_token());
        async move { outbox.run(stopping).await }
    });

    let pairs = Pairs::new(pool.clone(), outbox);
    let (friendships, blocks) = (Friendships::new(pool.clone(), pairs.clone()), Blocks::new(pool, pairs));
    let state = AppState { auth, users, presence, friendships, blocks, names, requests: request_counter(&platform)? };
    Ok(common::http::app(&platform, state, api::router()))
}

/// Counted from zero, so that a rate over the first request is seen.
fn request_counter(platform: &Platform) -> Result<IntCounterVec, Failure> {
    let requests =
        platform.metrics.counters("friend_request_total", "Friend requests by what became of them", &["status"])?;
    for status in ["sent", "accepted", "rejected", "cancelled"] {
        requests.with_label_values(&[status]);
    }
    Ok(requests)
}
