//! friend-service: friend requests, friendships and blocks.
//!
//! A *pair* is two users in ascending order of their ids. Their *relationship* is the live friendship or request between them, and
//! their blocks. A change locks the pair's row (`store::Pairs`), is checked against the rules (`domain`), and commits together
//! with its event. user-service owns the users; `events` keeps the cached profiles and the *projection* of their names current.
//!
//! *The original* is the FastAPI system that this workspace replaces. It may run beside these services, or before and after
//! them, on the same data, topics and token secret.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot continue should say where"))]

mod api;
mod config;
mod domain;
mod events;
mod state;
mod store;

use axum::Router;

use common::error::{BoxError, Detail};
use engines::kafka::producer::Producer;
use engines::mysql;
use engines::outbox::Outbox;
use engines::presence::Presence;
use engines::redis::Redis;
use platform::telemetry::Audit;
use platform::{Platform, Service};
use prometheus::IntCounterVec;
use service::auth::{Auth, TokenRole};
use service::budget::WriteBudgets;
use service::clients::user::UserClient;

pub use config::Config;

use crate::state::{AppState, Parts};
use crate::store::{Blocks, Friendships, Names, Pairs};

pub const SERVICE: Service = Service {
    name: "friend-service",
    title: "Friend Service",
    port: 8003,
    refusals: Detail::Text,
    password_flow: false,
};

/// The actions of the audit log.
const AUDITED: [&str; 7] = [
    "request_send",
    "request_accept",
    "request_reject",
    "request_cancel",
    "friend_remove",
    "user_block",
    "user_unblock",
];

/// Builds the service and starts its background tasks. No dependency has to be available yet.
pub async fn app(platform: Platform, config: Config) -> Result<Router, BoxError> {
    let (base, registry) = (&platform.config, platform.metrics.registry());
    let redis = Redis::new(&base.redis_url, &base.redis_tls, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "friend", || sqlx::migrate!());

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let role = TokenRole::Verifier { user_service_url: config.user_service_url.clone() };
    let auth = Auth::new(&platform, &redis, presence.clone(), role)?;
    let users = UserClient::new(config.user_service_url, &base.calls, config.profile_ttl, &auth, &platform.metrics)?
        .with_existence_ttl(config.existence_ttl);
    let producer = Producer::new(&base.kafka, registry)?;
    producer.watch(&platform.health, &base.kafka.topics.user_events);
    let outbox = Outbox::new(pool.clone(), "friend", producer.clone(), base.kafka.topics.clone(), &platform.metrics);

    let names = Names::new(pool.clone());

    events::start(&platform, &producer, names.clone(), users.clone())?;
    platform.shutdown.spawn(store::log_merged(pool.clone(), platform.shutdown.stopping_token()));
    platform.shutdown.spawn({
        let (outbox, stopping) = (outbox.clone(), platform.shutdown.stopping_token());
        async move { outbox.run(stopping).await }
    });

    let budgets = WriteBudgets::register(redis, SERVICE.name, &platform.metrics)?;
    let pairs = Pairs::new(pool.clone(), outbox);
    let friendships = Friendships::new(pool.clone(), pairs.clone(), config.request_limits, config.relation_limits);
    let blocks = Blocks::new(pool, pairs, config.relation_limits);
    let audit = Audit::register(&platform.metrics, &AUDITED)?;
    let requests = request_counter(&platform)?;
    let budget = budgets.per_minute("friends", config.write_limit);
    let daily_requests = budgets.per_day("friend_requests", config.daily_request_limit);
    let state = AppState::new(Parts {
        auth,
        users,
        presence,
        friendships,
        blocks,
        names,
        budget,
        daily_requests,
        requests,
        audit,
    });
    Ok(platform::http::app(&platform, state, api::router()))
}

/// The series start at zero, so that a rate includes the first request.
fn request_counter(platform: &Platform) -> Result<IntCounterVec, BoxError> {
    let requests = platform.metrics.counters("friend_request_total", "Friend requests by outcome", &["status"])?;
    for status in ["sent", "accepted", "rejected", "cancelled"] {
        requests.with_label_values(&[status]);
    }
    Ok(requests)
}
