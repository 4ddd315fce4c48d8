//! The networks from which accounts have logged in.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::MySqlConnection;

use common::id::UserId;
use engines::error::Result;

use crate::config::LimitConfig;
use crate::domain::Network;

/// A login from a known network is recorded again after this time, not each time.
const RECORD_INTERVAL: TimeDelta = TimeDelta::days(1);

/// The table `user_login_networks`.
#[derive(Clone)]
pub struct LoginNetworks {
    /// How long a network is known to an account that has logged in from it.
    pub(super) known_for: TimeDelta,
}

impl LoginNetworks {
    pub fn new(config: &LimitConfig) -> Self {
        Self { known_for: TimeDelta::days(config.known_network_days) }
    }

    /// Whether a network from which the account last logged in at this time is still known.
    pub fn is_known(&self, last_login: Option<DateTime<Utc>>) -> bool {
        last_login.is_some_and(|at| Utc::now() - at < self.known_for)
    }

    /// Forgets the networks of an account but one, from which its password was changed: who has stolen the old one has logged in
    /// from others.
    pub(super) async fn forget_others(
        &self,
        tx: &mut MySqlConnection,
        user: UserId,
        network: Option<Network>,
    ) -> Result<()> {
        let network = network.map(|network| network.to_string());
        let delete = sqlx::query("DELETE FROM user_login_networks WHERE user_id = ? AND NOT network <=> ?");
        delete.bind(user).bind(network).execute(tx).await?;
        Ok(())
    }

    /// Records a login from a network, under the lock of the account. Returns whether the network was new to it.
    pub(super) async fn record(&self, tx: &mut MySqlConnection, user: UserId, network: Network) -> Result<bool> {
        let (now, network) = (Utc::now(), network.to_string());
        let last_login: Option<DateTime<Utc>> =
            sqlx::query_scalar("SELECT last_login_at FROM user_login_networks WHERE user_id = ? AND network = ?")
                .bind(user)
                .bind(&network)
                .fetch_optional(&mut *tx)
                .await?;
        if last_login.is_none_or(|at| now - at >= RECORD_INTERVAL) {
            sqlx::query(
                "INSERT INTO user_login_networks (user_id, network, last_login_at) VALUES (?, ?, ?)
                 ON DUPLICATE KEY UPDATE last_login_at = VALUES(last_login_at)",
            )
            .bind(user)
            .bind(&network)
            .bind(now)
            .execute(tx)
            .await?;
        }
        Ok(!self.is_known(last_login))
    }
}
