//! The networks from which accounts have logged in.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::MySqlPool;

use common::id::UserId;
use engines::error::Result;

use crate::config::LimitConfig;
use crate::domain::Network;

/// A login from a known network is recorded again after this time, not each time.
const RECORD_INTERVAL: TimeDelta = TimeDelta::days(1);

/// Expired rows that the record of a new network deletes, so that the table holds about as many as are valid.
const PRUNED_AT_ONCE: u32 = 100;

/// The table `user_login_networks`.
#[derive(Clone)]
pub struct LoginNetworks {
    pool: MySqlPool,
    known_for: TimeDelta,
}

impl LoginNetworks {
    pub fn new(pool: MySqlPool, config: &LimitConfig) -> Self {
        Self { pool, known_for: TimeDelta::days(config.known_network_days) }
    }

    /// Whether a network from which the account last logged in at this time is still known.
    pub fn is_known(&self, last_login: Option<DateTime<Utc>>) -> bool {
        last_login.is_some_and(|at| Utc::now() - at < self.known_for)
    }

    /// Records a login from a network, whose last login from there was at this time.
    pub async fn record(&self, user: UserId, network: Network, last_login: Option<DateTime<Utc>>) -> Result<()> {
        let now = Utc::now();
        if last_login.is_some_and(|at| now - at < RECORD_INTERVAL) {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO user_login_networks (user_id, network, last_login_at) VALUES (?, ?, ?)
             ON DUPLICATE KEY UPDATE last_login_at = VALUES(last_login_at)",
        )
        .bind(user)
        .bind(network.to_string())
        .bind(now)
        .execute(&self.pool)
        .await?;
        sqlx::query("DELETE FROM user_login_networks WHERE last_login_at < ? ORDER BY last_login_at LIMIT ?")
            .bind(now - self.known_for)
            .bind(PRUNED_AT_ONCE)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
