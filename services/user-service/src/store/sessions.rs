//! Sessions in MySQL, from the login to the logout, the revocation or the expiry of the last refresh token.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool};
use uuid::Uuid;

use common::error::Error;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;
use engines::presence::Presence;
use service::auth::CurrentUser;

use super::{Credentials, lock_user, online_status};
use crate::domain::{Network, RefreshToken, RefreshTokenHash};

/// The tables `user_sessions`, `user_used_refresh_tokens` and `user_ended_tokens`.
#[derive(Clone)]
pub struct Sessions {
    pool: MySqlPool,
    outbox: Outbox,
    presence: Presence,
    refresh_lifetime: Duration,
}

/// The client that logs in. The list of sessions shows it to the owner of the account.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

impl ClientInfo {
    pub fn network(&self) -> Option<Network> {
        self.address.map(Network::of)
    }
}

/// The values from which the tokens of an opened or refreshed session are made.
pub struct SessionGrant {
    pub sid: Uuid,
    pub user: UserId,
    pub email: String,
    pub username: String,
    pub refresh_token: RefreshToken,
    pub refresh_lifetime: Duration,
}

/// A live session in the list of its owner.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Session {
    pub sid: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub user_agent: Option<String>,
    pub ip: Option<String>,
}

/// The outcome of presenting a refresh token.
pub enum RefreshOutcome {
    /// The token was exchanged for its successor.
    Rotated(SessionGrant),
    /// The token had been exchanged before, so a copy of it exists. The session with this id is revoked.
    Reused(String),
    /// The token is unknown or expired, its session is revoked, or its account is deactivated.
    Refused,
}

#[derive(sqlx::FromRow)]
struct RefreshableSession {
    sid: String,
    user_id: UserId,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl Sessions {
    pub fn new(pool: MySqlPool, outbox: Outbox, presence: Presence, refresh_lifetime: Duration) -> Self {
        Self { pool, outbox, presence, refresh_lifetime }
    }

    /// Opens a session and marks its user online. The event is appended if the user was marked offline.
    pub async fn open(&self, account: &Credentials, client: &ClientInfo) -> Result<SessionGrant> {
        let grant = self.grant(Uuid::new_v4(), account.id, &account.email, &account.username);
        let mut tx = mysql::begin(&self.pool).await?;
        online_status::set_online(&mut tx, &self.outbox, &[account.id]).await?;
        self.insert(&mut tx, &grant, client).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(grant)
    }

    async fn insert(&self, tx: &mut MySqlConnection, grant: &SessionGrant, client: &ClientInfo) -> Result<()> {
        let now = Utc::now();
        sqlx::query(
            "INSERT INTO user_sessions
             (sid, user_id, refresh_hash, user_agent, ip, created_at, last_used_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(grant.sid.to_string())
        .bind(grant.user)
        .bind(grant.refresh_token.hash().0.as_slice())
        .bind(&client.user_agent)
        .bind(client.address.map(|address| address.to_string()))
        .bind(now)
        .bind(now)
        .bind(now + self.refresh_lifetime)
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Exchanges a refresh token for its successor. Presenting a token that was exchanged before revokes the session.
    pub async fn refresh(&self, token: RefreshTokenHash) -> Result<RefreshOutcome> {
        let mut tx = mysql::begin(&self.pool).await?;
        let found: Option<RefreshableSession> = sqlx::query_as(
            "SELECT sid, user_id, expires_at, revoked_at FROM user_sessions WHERE refresh_hash = ? FOR UPDATE",
        )
        .bind(token.0.as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(session) = found else {
            tx.rollback().await?;
            return self.revoke_if_reused(token).await;
        };
        let account: Option<(String, String)> =
            sqlx::query_as("SELECT email, username FROM users WHERE id = ? AND is_active")
                .bind(session.user_id)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((email, username)) = account.filter(|_| session.is_live()) else {
            return Ok(RefreshOutcome::Refused);
        };
        let sid = session.sid.parse().map_err(Error::internal)?;
        let grant = self.grant(sid, session.user_id, &email, &username);
        self.rotate(&mut tx, token, &grant).await?;
        tx.commit().await?;
        Ok(RefreshOutcome::Rotated(grant))
    }

    async fn rotate(&self, tx: &mut MySqlConnection, used: RefreshTokenHash, grant: &SessionGrant) -> Result<()> {
        let now = Utc::now();
        sqlx::query("INSERT INTO user_used_refresh_tokens (refresh_hash, sid, used_at) VALUES (?, ?, ?)")
            .bind(used.0.as_slice())
            .bind(grant.sid.to_string())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE user_sessions SET refresh_hash = ?, last_used_at = ?, expires_at = ? WHERE sid = ?")
            .bind(grant.refresh_token.hash().0.as_slice())
            .bind(now)
            .bind(now + self.refresh_lifetime)
            .bind(grant.sid.to_string())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Handles a token that no session holds. If it was exchanged before, its session is revoked: the owner and a thief
    /// may both have it, and the server cannot distinguish them.
    async fn revoke_if_reused(&self, token: RefreshTokenHash) -> Result<RefreshOutcome> {
        let used: Option<String> =
            sqlx::query_scalar("SELECT sid FROM user_used_refresh_tokens WHERE refresh_hash = ?")
                .bind(token.0.as_slice())
                .fetch_optional(&self.pool)
                .await?;
        let Some(sid) = used else { return Ok(RefreshOutcome::Refused) };
        sqlx::query("UPDATE user_sessions SET revoked_at = ? WHERE sid = ? AND revoked_at IS NULL")
            .bind(Utc::now())
            .bind(&sid)
            .execute(&self.pool)
            .await?;
        Ok(RefreshOutcome::Reused(sid))
    }

    /// Revokes the caller's session and marks the user offline until another session shows a sign of life.
    ///
    /// # Errors
    /// Returns a not-found error if the account does not exist.
    pub async fn log_out(&self, me: &CurrentUser) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        lock_user(&mut tx, me.id).await?;
        match me.sid {
            Some(_) => drop(set_revoked(&mut tx, me.id, &me.session).await?),
            None => insert_ended_token(&mut tx, me).await?,
        }
        // Under the lock of the row, which the presence sweep also takes: otherwise the sweep could read the key before
        // it is deleted and mark the user online again.
        if let Err(e) = self.presence.clear(me.id).await {
            tracing::warn!(error = %e, "the presence key was not deleted at a logout, it expires");
        }
        online_status::set_offline(&mut tx, &self.outbox, &[(me.id, Utc::now())]).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(())
    }

    /// The live sessions of a user, the most recently used first.
    pub async fn of(&self, user: UserId) -> Result<Vec<Session>> {
        let sessions = sqlx::query_as(
            "SELECT sid, created_at, last_used_at, user_agent, ip FROM user_sessions
             WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY last_used_at DESC, sid",
        );
        Ok(sessions.bind(user).bind(Utc::now()).fetch_all(&self.pool).await?)
    }

    /// Revokes one of the user's sessions. Returns whether there was one to revoke.
    pub async fn revoke(&self, user: UserId, sid: &str) -> Result<bool> {
        let mut connection = self.pool.acquire().await?;
        set_revoked(&mut connection, user, sid).await
    }

    /// Sets a new password and revokes the user's sessions except `keep`. Returns the ids of the revoked sessions.
    pub async fn change_password(&self, user: UserId, hash: &str, keep: &str) -> Result<Vec<String>> {
        let now = Utc::now();
        let mut tx = mysql::begin(&self.pool).await?;
        sqlx::query("UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ?")
            .bind(hash)
            .bind(now)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        let live: Vec<String> = sqlx::query_scalar(
            "SELECT sid FROM user_sessions WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? FOR UPDATE",
        )
        .bind(user)
        .bind(now)
        .fetch_all(&mut *tx)
        .await?;
        let others: Vec<String> = live.into_iter().filter(|sid| sid != keep).collect();
        for sid in &others {
            set_revoked(&mut tx, user, sid).await?;
        }
        tx.commit().await?;
        Ok(others)
    }

    /// The revocations since a time, by the keys that access tokens carry: session ids, and the signatures of the
    /// original's tokens.
    pub async fn revoked_since(&self, since: DateTime<Utc>) -> Result<Vec<String>> {
        let sids: Vec<String> = sqlx::query_scalar("SELECT sid FROM user_sessions WHERE revoked_at >= ?")
            .bind(since)
            .fetch_all(&self.pool)
            .await?;
        let signatures: Vec<String> =
            sqlx::query_scalar("SELECT signature FROM user_ended_tokens WHERE ended_at >= ? AND expires_at > ?")
                .bind(since)
                .bind(Utc::now())
                .fetch_all(&self.pool)
                .await?;
        Ok(sids.into_iter().chain(signatures).collect())
    }

    /// Deletes rows whose tokens have all expired.
    pub async fn prune(&self) -> Result<()> {
        let now = Utc::now();
        for (delete, before) in [
            ("DELETE FROM user_sessions WHERE expires_at < ? LIMIT 10000", now),
            ("DELETE FROM user_used_refresh_tokens WHERE used_at < ? LIMIT 10000", now - self.refresh_lifetime),
            ("DELETE FROM user_ended_tokens WHERE expires_at < ? LIMIT 10000", now - Duration::from_secs(3600)),
        ] {
            sqlx::query(delete).bind(before).execute(&self.pool).await?;
        }
        Ok(())
    }

    fn grant(&self, sid: Uuid, user: UserId, email: &str, username: &str) -> SessionGrant {
        let (email, username) = (email.to_owned(), username.to_owned());
        let refresh_token = RefreshToken::generate();
        SessionGrant { sid, user, email, username, refresh_token, refresh_lifetime: self.refresh_lifetime }
    }
}

impl RefreshableSession {
    fn is_live(&self) -> bool {
        self.revoked_at.is_none() && self.expires_at > Utc::now()
    }
}

async fn set_revoked(connection: &mut MySqlConnection, user: UserId, sid: &str) -> Result<bool> {
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
async fn insert_ended_token(connection: &mut MySqlConnection, me: &CurrentUser) -> Result<()> {
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
