//! Deleting rows of sessions whose tokens have all expired, and of networks that are no longer known.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use engines::error::Result;

use super::Sessions;

/// Rows that one statement deletes. Their locks are held until it ends.
const BATCH: u64 = 1_000;

/// Clocks differ: a service may accept a token for a moment after its expiry.
const GRACE: Duration = Duration::from_secs(3600);

impl Sessions {
    /// Deletes rows whose tokens have all expired and networks that are no longer known, in batches, until none is left.
    pub async fn prune(&self) -> Result<()> {
        let before = Utc::now() - GRACE;
        let used_before = Utc::now() - self.bounds.refresh_lifetime;
        // The row of a session stays while one of its tokens lives, so that a copy to Redis finds its revocation.
        let sessions = "user_sessions WHERE expires_at < ? AND COALESCE(tokens_expire_at < UTC_TIMESTAMP(6), TRUE)";
        self.delete(sessions, before).await?;
        self.delete("user_used_refresh_tokens WHERE used_at < ?", used_before).await?;
        self.delete("user_ended_tokens WHERE expires_at < ?", before).await?;
        self.delete("user_login_networks WHERE last_login_at < ?", Utc::now() - self.networks.known_for).await
    }

    async fn delete(&self, rows: &'static str, before: DateTime<Utc>) -> Result<()> {
        let delete = format!("DELETE FROM {rows} LIMIT {BATCH}");
        loop {
            let delete = sqlx::query(AssertSqlSafe(delete.clone())).bind(before);
            if delete.execute(&self.pool).await?.rows_affected() < BATCH {
                return Ok(());
            }
        }
    }
}
