//! Redis: a connection that heals itself, and keys in one place.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::config::{self, ConfigError, Secret};
use crate::error::Result;
use crate::health::Health;

/// Redis only speeds things up: an answer that takes longer is not worth waiting for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The connection and the prefix of our keys.
#[derive(Clone)]
pub struct Redis {
    connection: ConnectionManager,
    prefix: String,
}

impl Redis {
    /// Connects when it is first used.
    pub fn new(url: &Secret, prefix: &str) -> std::result::Result<Self, ConfigError> {
        let invalid = |e: redis::RedisError| config::error("REDIS_URL", format!("is not valid: {e}"));
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT);
        let client = redis::Client::open(url.expose()).map_err(invalid)?;
        let connection = ConnectionManager::new_lazy_with_config(client, settings).map_err(invalid)?;
        Ok(Self { connection, prefix: prefix.to_owned() })
    }

    /// A handle to send commands with; cheap.
    pub fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// A key of ours.
    pub fn key(&self, name: std::fmt::Arguments<'_>) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Reports `redis` as ready while it answers.
    pub fn watch(&self, health: &Health) {
        let redis = self.clone();
        health.require("redis", move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        });
    }

    async fn ping(&self) -> Result<()> {
        Ok(redis::cmd("PING").query_async::<()>(&mut self.connection()).await?)
    }
}
