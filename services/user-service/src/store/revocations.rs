//! The statements that revoke sessions, and tokens of the original.

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;

use common::id::UserId;
use engines::error::Result;
use service::auth::CurrentUser;

/// The sessions of a user that were revoked at exactly this time.
pub(super) async fn revoked_at(tx: &mut MySqlConnection, user: UserId, at: DateTime<Utc>) -> Result<Vec<String>> {
    let sids = sqlx::query_scalar("SELECT sid FROM user_sessions WHERE user_id = ? AND revoked_at = ?");
    Ok(sids.bind(user).bind(at).fetch_all(tx).await?)
}

pub(super) async fn set_revoked(connection: &mut MySqlConnection, user: UserId, sid: &str) -> Result<bool> {
    let revoked =
        sqlx::query("UPDATE user_sessions SET revoked_at = ? WHERE sid = ? AND user_id = ? AND revoked_at IS NULL")
            .bind(Utc::now())
            .bind(sid)
            .bind(user)
            .execute(connection)
            .await?;
    Ok(revoked.rows_affected() > 0)
}

/// Revokes one token of the original by its signature, because it belongs to no session.
pub(super) async fn insert_ended_token(connection: &mut MySqlConnection, me: &CurrentUser) -> Result<()> {
    let expires_at = DateTime::from_timestamp(me.expires_at, 0).unwrap_or_else(Utc::now);
    sqlx::query("INSERT IGNORE INTO user_ended_tokens (signature, user_id, ended_at, expires_at) VALUES (?, ?, ?, ?)")
        .bind(&*me.session)
        .bind(me.id)
        .bind(Utc::now())
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(())
}
