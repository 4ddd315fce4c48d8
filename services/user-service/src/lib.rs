//! user-service: accounts, sessions, profiles, the search for users, and presence.
//!
//! # Terms
//!
//! - **The original** is the FastAPI system that this workspace replaces. An operator replaces its services one by one,
//!   on the same tables, tokens and topics, and can go back. So an account may have a bcrypt hash, a token may carry no
//!   session id, and a row may change without a write to the search index.
//! - A **session** begins with a login. It ends with a logout, with a revocation, or when its last refresh token
//!   expires. Its id, `sid`, is a claim of its access tokens.
//! - An **access token** is a signed JWT with a lifetime of hours. Every service verifies its signature and looks up
//!   whether its session was revoked.
//! - A **refresh token** is a random value that a client exchanges for a new access token and a new refresh token. It
//!   is valid for one exchange and stored only as a hash. All refresh tokens of one session are its **refresh family**:
//!   one of them is current, all others are used. A client that presents a used one shows that a copy exists, and the
//!   whole family is revoked with the session.
//! - A **revocation** ends a session or, when an operator deactivates an account, all sessions of a user before their
//!   access tokens expire. MySQL holds the revocations; `tasks` copies them to Redis, where every service reads them.
//!   A token of the original is revoked by its signature.
//! - **Presence** is whether a user is online. Any authenticated request to any service is a sign of life and sets a
//!   key in Redis that expires. `tasks` compares the keys with the column `is_online` and appends an event for each
//!   difference.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test panics where it fails"))]

mod api;
mod breached;
mod config;
mod domain;
mod metrics;
mod passwords;
mod state;
mod store;
mod tasks;
mod vault;

use std::sync::Arc;

use axum::Router;
use common::error::{BoxError, Detail};
use engines::kafka::producer::Producer;
use engines::kafka::tail::Tail;
use engines::mysql;
use engines::outbox::Outbox;
use engines::presence::Presence;
use engines::redis::Redis;
use platform::telemetry::Audit;
use platform::{Platform, Service};
use service::auth::{Auth, RevocationSource, TokenRole};
use service::blocks::{BlockSource, Blocks};
use service::budget::WriteBudgets;

pub use config::{Config, LimitConfig, PasswordConfig, Scheme, TokenConfig};

/// Validation of texts that clients send, for tests/fuzz.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::domain::Email;
}

use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::state::{AppState, Parts};
use crate::store::{
    Accounts, CodeLimit, ComparedForms, Deactivations, Directory, Emails, ExistingAccounts, LoginNetworks,
    OnlineStatus, ProfileCache, Profiles, RateLimits, SecondFactors, SessionBounds, Sessions,
};
use crate::tasks::{ComparedFormBackfill, PresenceSweeper, RevocationSync, SessionPruning};
use crate::vault::Vault;

pub const SERVICE: Service =
    Service { name: "user-service", title: "User Service", port: 8005, refusals: Detail::Object, password_flow: true };

/// The actions of the audit log.
const AUDITED: [&str; 10] = [
    "register",
    "login",
    "refresh_token_reuse",
    "logout",
    "session_end",
    "password_change",
    "second_factor_enroll",
    "second_factor_enable",
    "second_factor_disable",
    "recovery_codes_renew",
];

/// Builds the service and starts its background tasks. The engines need not be reachable yet.
///
/// # Errors
/// Returns an error if the configuration is invalid or a metric cannot be registered.
pub async fn app(platform: Platform, config: Config) -> Result<Router, BoxError> {
    let (base, shutdown) = (&platform.config, &platform.shutdown);
    let metrics = Metrics::register(&platform.metrics)?;

    let redis = Redis::new(&base.redis_url, &base.redis_tls, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "user", || sqlx::migrate!());

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let producer = Producer::new(&base.kafka, platform.metrics.registry())?;
    producer.watch(&platform.health, &base.kafka.topics.user_events);
    let topics = base.kafka.topics.clone();
    let outbox = Outbox::new(pool.clone(), "user", producer.clone(), topics, &platform.metrics);

    let bounds = SessionBounds {
        refresh_lifetime: config.refresh_lifetime,
        lifetime: config.session_lifetime,
        token_lifetime: base.access_token_lifetime,
        per_user: config.sessions_per_user,
    };
    let login_networks = LoginNetworks::new(&config.limits);
    let sessions = Sessions::new(pool.clone(), outbox.clone(), presence.clone(), login_networks.clone(), bounds);
    let TokenConfig { private_key, with_email } = config.tokens;
    let role = TokenRole::Issuer { private_key, with_email, revocations: revocation_source(&sessions) };
    let auth = Auth::new(&platform, &redis, presence.clone(), role)?;

    let cache = ProfileCache::new(redis.clone(), presence.clone(), config.profile_cache_ttl, &platform.metrics);
    let accounts = Accounts::new(pool.clone(), outbox.clone());
    let profiles = Profiles::new(pool.clone(), outbox.clone(), cache.clone());
    let directory = Directory::new(pool.clone());
    let emails = Emails::new(pool.clone());
    let vault = config.mfa_secret_key.as_ref().map(|key| Vault::new(key, config.mfa_secret_key_previous.as_ref()));
    let code_limit = CodeLimit { failures: config.limits.password_failures, window: config.limits.window };
    let second_factors = SecondFactors::new(pool.clone(), outbox.clone(), vault, code_limit);
    let compared_forms = ComparedForms::new(pool.clone());
    let deactivations = Deactivations::new(pool.clone());
    let status = OnlineStatus::new(pool, outbox.clone(), presence.clone(), cache);

    let stopping = shutdown.stopping_token();
    shutdown.spawn({
        let stopping = stopping.clone();
        async move { outbox.run(stopping).await }
    });
    let sweeper = PresenceSweeper::new(status, presence.clone(), metrics.online_users.clone());
    shutdown.spawn(sweeper.run(stopping.clone()));
    let revocation_sync = RevocationSync::new(
        deactivations,
        sessions.clone(),
        directory.clone(),
        profiles.clone(),
        auth.revocations().clone(),
        auth.tokens().lifetime(),
    );
    shutdown.spawn(revocation_sync.run(stopping.clone()));
    shutdown.spawn(SessionPruning::new(sessions.clone()).run(stopping.clone()));
    shutdown.spawn(ComparedFormBackfill::new(compared_forms).run(stopping.clone()));
    shutdown.spawn(tasks::backfill_search_index(directory.clone(), stopping));

    let tail = Tail::start(&base.kafka, &producer, &[&base.kafka.topics.friend_events], shutdown.stopping_token())?;
    let blocks = Blocks::register(&platform.metrics)?;
    let source = BlockSource::new(&config.friend_service_url, &base.calls, &auth)?;
    tokio::spawn(blocks.clone().load(source, tail.ready()));
    shutdown.spawn(blocks.clone().follow(tail));

    let budgets = WriteBudgets::register(redis.clone(), SERVICE.name, &platform.metrics)?;
    let state = AppState::new(Parts {
        auth,
        presence,
        passwords: Passwords::new(&config.passwords, &platform.metrics)?,
        limits: RateLimits::new(redis, config.limits),
        budget: budgets.per_minute("profile", config.write_limit),
        login_networks,
        accounts,
        emails,
        existing: ExistingAccounts::new(profiles.clone(), config.exists_cache_ttl),
        sessions,
        second_factors,
        profiles,
        directory,
        blocks,
        metrics,
        audit: Audit::register(&platform.metrics, &AUDITED)?,
        issuer: config.issuer.into(),
    });
    Ok(platform::http::app(&platform, state, api::router()))
}

/// Looks up revocations in MySQL while Redis cannot tell.
fn revocation_source(sessions: &Sessions) -> RevocationSource {
    let sessions = sessions.clone();
    Arc::new(move |session, user| {
        let sessions = sessions.clone();
        Box::pin(async move { sessions.is_revoked(&session, user).await })
    })
}
