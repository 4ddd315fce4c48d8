//! Accounts, sessions, profiles, the search of people, and who is online.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should say where"))]

mod api;
mod config;
mod domain;
mod metrics;
mod passwords;
mod state;
mod store;
mod tasks;

use axum::Router;
use common::auth::Auth;
use common::http::{Detail, Service};
use common::kafka::producer::Producer;
use common::mysql;
use common::outbox::Outbox;
use common::platform::{Failure, Platform};
use common::presence::Presence;
use common::redis::Redis;

pub use config::{Config, LimitConfig, PasswordConfig, Scheme};

use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::state::AppState;
use crate::store::{Accounts, Directory, ExistingAccounts, Limits, ProfileCache, Profiles, Sessions, Status};
use crate::tasks::{Keeper, Sweeper};

pub const SERVICE: Service =
    Service { name: "user-service", title: "User Service", port: 8005, refusals: Detail::Object, password_flow: true };

/// Builds the service and starts its background work; no engine has to be there yet.
pub async fn app(platform: Platform, config: Config) -> Result<Router, Failure> {
    let (base, shutdown) = (&platform.config, &platform.shutdown);
    let metrics = Metrics::register(&platform.metrics)?;

    let redis = Redis::new(&base.redis_url, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "user", || sqlx::migrate!());

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let auth = Auth::new(&platform, &redis, presence.clone())?;
    let producer = Producer::new(&base.kafka, platform.metrics.registry())?;
    let topics = base.kafka.topics.clone();
    let outbox = Outbox::new(pool.clone(), "user", producer.clone(), topics, &platform.metrics);

    let cache = ProfileCache::new(redis.clone(), presence.clone(), config.profile_cache_ttl, &platform.metrics);
    let accounts = Accounts::new(pool.clone(), outbox.clone());
    let sessions = Sessions::new(pool.clone(), outbox.clone(), presence.clone(), config.refresh_lifetime);
    let profiles = Profiles::new(pool.clone(), outbox.clone(), cache.clone());
    let directory = Directory::new(pool.clone());
    let status = Status::new(pool, outbox.clone(), redis.clone(), presence.clone(), cache);

    let stopping = shutdown.stopping_token();
    shutdown.spawn({
        let stopping = stopping.clone();
        async move { outbox.run(stopping).await }
    });
    let sweeper = Sweeper::new(status, presence.clone(), redis.clone(), base.online_ttl, metrics.online_users.clone());
    shutdown.spawn(sweeper.run(stopping.clone()));
    let keeper = Keeper::new(
        accounts.clone(),
        sessions.clone(),
        directory.clone(),
        profiles.clone(),
        auth.revocations().clone(),
        redis.clone(),
        auth.tokens().lifetime(),
    );
    shutdown.spawn(keeper.run(stopping.clone()));
    shutdown.spawn(tasks::index(directory.clone(), stopping));

    let state = AppState {
        auth,
        presence,
        passwords: Passwords::new(&config.passwords, &platform.metrics)?,
        limits: Limits::new(redis, config.limits),
        accounts,
        existing: ExistingAccounts::new(profiles.clone(), config.exists_cache_ttl),
        sessions,
        profiles,
        directory,
        metrics,
    };
    Ok(common::http::app(&platform, state, api::router()))
}
