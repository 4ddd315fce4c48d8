//! What friend-service reads from the environment besides what all services read.

use std::time::Duration;

use common::config::{self, ConfigError, Env};

#[derive(Clone, Debug)]
pub struct Config {
    pub user_service_url: String,
    /// How long a profile is remembered, unless an event says that it changed.
    pub profile_ttl: Duration,
    /// How long someone is remembered to exist.
    pub existence_ttl: Duration,
}

impl Config {
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            user_service_url: config::service_url(env, "USER_SERVICE_URL", "http://localhost:8005")?,
            profile_ttl: env.seconds("CACHE_TTL_USER_PROFILE", 300, 1..=86_400)?,
            existence_ttl: env.seconds("CACHE_TTL_USER_EXISTS", 60, 1..=86_400)?,
        })
    }
}
