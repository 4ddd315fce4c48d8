//! Deleting rows of sessions whose tokens have all expired, and of networks that are no longer known.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, MySql, QueryBuilder};

use engines::error::Result;

use super::Sessions;

/// Rows that one statement deletes. Their locks are held until it ends.
const BATCH: u64 = 1_000;

/// Clocks differ: a service may accept a token for a moment after its expiry.
const GRACE: Duration = Duration::from_secs(3600);

impl Sessions {
    /// Deletes rows whose tokens have all expired and networks that are no longer known, in batches, until none is left.
    pub async fn prune(&self) -> Result<()> {
        let (now, before) = (Utc::now(), Utc::now() - GRACE);
        // The row of a session stays while one of its tokens lives, so that a copy to Redis finds its revocation.
        self.delete_sessions("expires_at < ? AND COALESCE(tokens_expire_at < UTC_TIMESTAMP(6), TRUE)", before).await?;
        // A replica of an earlier version may have refreshed the session without recording the expiry.
        let revoked_before = before - self.bounds.token_lifetime;
        self.delete_sessions("revoked_at < ? AND tokens_expire_at < UTC_TIMESTAMP(6)", revoked_before).await?;
        // Used tokens are deleted with their session. These are those of sessions that an earlier version has deleted.
        self.delete("user_used_refresh_tokens WHERE used_at < ?", now - self.bounds.lifetime - GRACE).await?;
        self.delete("user_ended_tokens WHERE expires_at < ?", before).await?;
        self.delete("user_login_networks WHERE last_login_at < ?", now - self.networks.known_for).await
    }

    /// Deletes sessions with their used refresh tokens. The tokens go first, so that an interruption leaves none behind.
    async fn delete_sessions(&self, which: &'static str, before: DateTime<Utc>) -> Result<()> {
        let select = format!("SELECT sid FROM user_sessions WHERE {which} LIMIT {BATCH}");
        loop {
            let sids = sqlx::query_scalar(AssertSqlSafe(select.clone())).bind(before);
            let sids: Vec<String> = sids.fetch_all(&self.pool).await?;
            if sids.is_empty() {
                return Ok(());
            }
            while self.delete_of("user_used_refresh_tokens", &sids).await? == BATCH {}
            self.delete_of("user_sessions", &sids).await?;
        }
    }

    /// Deletes at most a batch of the rows of these sessions. Returns their number.
    async fn delete_of(&self, table: &str, sids: &[String]) -> Result<u64> {
        let mut delete = QueryBuilder::<MySql>::new(format!("DELETE FROM {table} WHERE sid IN ("));
        let mut list = delete.separated(", ");
        sids.iter().for_each(|sid| _ = list.push_bind(sid));
        delete.push(format!(") LIMIT {BATCH}"));
        Ok(delete.build().persistent(false).execute(&self.pool).await?.rows_affected())
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
