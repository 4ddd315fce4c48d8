//! The settings of friend-service, in addition to those of all services.

use std::time::Duration;

use common::config::{ConfigError, Env};

use crate::domain::{RelationLimits, RequestLimits};

#[derive(Clone, Debug)]
pub struct Config {
    pub user_service_url: String,
    /// Lifetime of a cached profile. An event ends it earlier.
    pub profile_ttl: Duration,
    /// Lifetime of a cached confirmation that a user exists.
    pub existence_ttl: Duration,
    pub request_limits: RequestLimits,
    pub relation_limits: RelationLimits,
    /// The writes of a user in a minute; 0 is no limit.
    pub write_limit: u64,
    /// The requests that a user may send in a day; 0 is no limit.
    pub daily_request_limit: u64,
}

impl Config {
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            user_service_url: platform::config::service_url(env, "USER_SERVICE_URL", "http://localhost:8005")?,
            profile_ttl: env.seconds("CACHE_TTL_USER_PROFILE", 300, 1..=86_400)?,
            existence_ttl: env.seconds("CACHE_TTL_USER_EXISTS", 60, 1..=86_400)?,
            request_limits: RequestLimits {
                pending: env.number("FRIEND_REQUEST_LIMIT_PENDING", 200, 0..=1_000_000)?,
                ended: env.number("FRIEND_REQUEST_LIMIT_ENDED", 4, 0..=1_000_000)?,
            },
            relation_limits: RelationLimits {
                friends: env.number("FRIENDS_PER_USER", 5_000, 1..=100_000)?,
                blocked: env.number("BLOCKS_PER_USER", 2_000, 1..=100_000)?,
            },
            write_limit: env.number("WRITE_LIMIT_FRIENDS", 120, 0..=1_000_000)?,
            daily_request_limit: env.number("WRITE_LIMIT_FRIEND_REQUESTS", 500, 0..=1_000_000)?,
        })
    }
}
