//! Revoking sessions and reading the revocations.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};

use common::id::UserId;
use engines::error::Result;
use engines::mysql;

use super::Sessions;
use crate::store::lock_user;
use crate::store::revocations::set_revoked;

/// The revocation of a session, or of a token of the original.
#[derive(sqlx::FromRow)]
pub struct Revocation {
    /// The key that access tokens carry: the id of the session, or the signature of the original's token.
    pub key: String,
    /// The latest expiry of the tokens.
    pub tokens_expire_at: DateTime<Utc>,
}

impl Sessions {
    /// Revokes one of the user's sessions, and marks the user offline unless another session shows signs of life. Returns whether
    /// there was one to revoke.
    ///
    /// # Errors
    /// Returns a not-found error if the account does not exist.
    pub async fn revoke(&self, user: UserId, sid: &str) -> Result<bool> {
        let mut tx = mysql::begin(&self.pool).await?;
        lock_user(&mut tx, user).await?;
        let found = set_revoked(&mut tx, user, sid).await?;
        if found {
            self.end_presence(&mut tx, user, sid).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(found)
    }

    /// Whether a session, a token of the original or the account of its user is revoked.
    pub async fn is_revoked(&self, key: &str, user: UserId) -> Result<bool> {
        let revoked = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM user_sessions WHERE sid = ? AND revoked_at IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM user_ended_tokens WHERE signature = ?)
                 OR EXISTS (SELECT 1 FROM users WHERE id = ? AND is_active = FALSE)",
        );
        Ok(revoked.bind(key).bind(key).bind(user).fetch_one(&self.pool).await?)
    }

    /// The revocations since a time whose tokens have not expired.
    pub fn revocations(&self, since: DateTime<Utc>) -> impl Stream<Item = sqlx::Result<Revocation>> + Send + '_ {
        let now = Utc::now();
        let sessions = sqlx::query_as(
            "SELECT `key`, tokens_expire_at FROM (
                 SELECT sid AS `key`, GREATEST(COALESCE(tokens_expire_at, expires_at), revoked_at + INTERVAL ? SECOND)
                     AS tokens_expire_at
                 FROM user_sessions WHERE revoked_at >= ?
             ) revoked WHERE tokens_expire_at > ?",
        );
        let tokens = sqlx::query_as(
            "SELECT signature AS `key`, expires_at AS tokens_expire_at FROM user_ended_tokens
             WHERE ended_at >= ? AND expires_at > ?",
        );
        // A replica of an earlier version may have refreshed the session without recording the expiry.
        let lifetime = self.bounds.token_lifetime.as_secs() as i64;
        let sessions = sessions.bind(lifetime).bind(since).bind(now).fetch(&self.pool);
        sessions.chain(tokens.bind(since).bind(now).fetch(&self.pool))
    }
}

impl Revocation {
    /// The key, and the remaining life of the tokens.
    pub fn for_redis(self, now: DateTime<Utc>) -> (String, Duration) {
        (self.key, (self.tokens_expire_at - now).to_std().unwrap_or_default())
    }
}
