//! Sessions in MySQL: from a login to a logout, or to the end of the last refresh token.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool};
use uuid::Uuid;

use common::auth::CurrentUser;
use common::error::{Error, Result};
use common::id::UserId;
use common::mysql;
use common::outbox::Outbox;
use common::presence::Presence;

use super::{Credentials, lock_user, status};
use crate::domain::{RefreshHash, RefreshToken};

/// The tables `user_sessions`, `user_used_refresh_tokens` and `user_ended_tokens`.
#[derive(Clone)]
pub struct Sessions {
    pool: MySqlPool,
    outbox: Outbox,
    presence: Presence,
    lifetime: Duration,
}

/// Who logs in, as far as their owner should later recognize them.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// A session that was begun or refreshed, and the token for the next time.
pub struct Opened {
    pub sid: Uuid,
    pub user: UserId,
    pub email: String,
    pub username: String,
    pub refresh_token: RefreshToken,
    pub refresh_lifetime: Duration,
}

/// A session that its owner looks at.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Session {
    pub sid: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub user_agent: Option<String>,
    pub ip: Option<String>,
}

/// The end of a refresh token.
pub enum Refreshed {
    Anew(Opened),
    /// It was used before: someone has a copy, and the session is over.
    Stolen(String),
    Refused,
}

#[derive(sqlx::FromRow)]
struct Refreshable {
    sid: String,
    user_id: UserId,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl Sessions {
    pub fn new(pool: MySqlPool, outbox: Outbox, presence: Presence, lifetime: Duration) -> Self {
        Self { pool, outbox, presence, lifetime }
    }

    /// Begins a session; with it the person is online, and that is told if it was not so before.
    pub async fn open(&self, account: &Credentials, client: &ClientInfo) -> Result<Opened> {
        let opened = self.opened(Uuid::new_v4(), account.id, &account.email, &account.username);
        let mut tx = mysql::begin(&self.pool).await?;
        status::online(&mut tx, &self.outbox, &[account.id]).await?;
        self.insert(&mut tx, &opened, client).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(opened)
    }

    async fn insert(&self, tx: &mut MySqlConnection, opened: &Opened, client: &ClientInfo) -> Result<()> {
        let now = Utc::now();
        sqlx::query(
            "INSERT INTO user_sessions
             (sid, user_id, refresh_hash, user_agent, ip, created_at, last_used_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(opened.sid.to_string())
        .bind(opened.user)
        .bind(opened.refresh_token.hash().0.as_slice())
        .bind(&client.user_agent)
        .bind(client.address.map(|address| address.to_string()))
        .bind(now)
        .bind(now)
        .bind(now + self.lifetime)
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Exchanges a refresh token, once.
    pub async fn refresh(&self, token: RefreshHash) -> Result<Refreshed> {
        let mut tx = mysql::begin(&self.pool).await?;
        let found: Option<Refreshable> = sqlx::query_as(
            "SELECT sid, user_id, expires_at, revoked_at FROM user_sessions WHERE refresh_hash = ? FOR UPDATE",
        )
        .bind(token.0.as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(session) = found else {
            tx.rollback().await?;
            return self.unknown(token).await;
        };
        let account: Option<(String, String)> =
            sqlx::query_as("SELECT email, username FROM users WHERE id = ? AND is_active")
                .bind(session.user_id)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((email, username)) = account.filter(|_| session.counts()) else {
            return Ok(Refreshed::Refused);
        };
        let sid = session.sid.parse().map_err(Error::internal)?;
        let opened = self.opened(sid, session.user_id, &email, &username);
        self.rotate(&mut tx, token, &opened).await?;
        tx.commit().await?;
        Ok(Refreshed::Anew(opened))
    }

    async fn rotate(&self, tx: &mut MySqlConnection, used: RefreshHash, opened: &Opened) -> Result<()> {
        let now = Utc::now();
        sqlx::query("INSERT INTO user_used_refresh_tokens (refresh_hash, sid, used_at) VALUES (?, ?, ?)")
            .bind(used.0.as_slice())
            .bind(opened.sid.to_string())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE user_sessions SET refresh_hash = ?, last_used_at = ?, expires_at = ? WHERE sid = ?")
            .bind(opened.refresh_token.hash().0.as_slice())
            .bind(now)
            .bind(now + self.lifetime)
            .bind(opened.sid.to_string())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// No session has this token now. If one had it before, there are two who hold it, and both are out.
    async fn unknown(&self, token: RefreshHash) -> Result<Refreshed> {
        let used: Option<String> =
            sqlx::query_scalar("SELECT sid FROM user_used_refresh_tokens WHERE refresh_hash = ?")
                .bind(token.0.as_slice())
                .fetch_optional(&self.pool)
                .await?;
        let Some(sid) = used else { return Ok(Refreshed::Refused) };
        sqlx::query("UPDATE user_sessions SET revoked_at = ? WHERE sid = ? AND revoked_at IS NULL")
            .bind(Utc::now())
            .bind(&sid)
            .execute(&self.pool)
            .await?;
        Ok(Refreshed::Stolen(sid))
    }

    /// Ends the caller's session; the person is offline until another of theirs shows a sign of life.
    pub async fn log_out(&self, me: &CurrentUser) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        if !lock_user(&mut tx, me.id).await? {
            return Err(Error::not_found("User not found"));
        }
        match me.sid {
            Some(_) => drop(revoke(&mut tx, me.id, &me.session).await?),
            None => end_token(&mut tx, me).await?,
        }
        // Under the lock of the row: the sweeper, which also takes it, sees the key gone before it could raise it again.
        if let Err(e) = self.presence.clear(me.id).await {
            tracing::warn!(error = %e, "the presence key of a logout stays until it expires");
        }
        status::offline(&mut tx, &self.outbox, &[(me.id, Utc::now())]).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(())
    }

    /// The caller's sessions, the latest first.
    pub async fn of(&self, user: UserId) -> Result<Vec<Session>> {
        let sessions = sqlx::query_as(
            "SELECT sid, created_at, last_used_at, user_agent, ip FROM user_sessions
             WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY last_used_at DESC, sid",
        );
        Ok(sessions.bind(user).bind(Utc::now()).fetch_all(&self.pool).await?)
    }

    /// Ends one of the user's sessions. False where there is none to end.
    pub async fn end(&self, user: UserId, sid: &str) -> Result<bool> {
        let mut connection = self.pool.acquire().await?;
        revoke(&mut connection, user, sid).await
    }

    /// Sets a new password and ends the user's sessions but one. Returns the ids of those that ended.
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
            revoke(&mut tx, user, sid).await?;
        }
        tx.commit().await?;
        Ok(others)
    }

    /// What ended since then, as the access tokens name it: session ids, and signatures of the original's tokens.
    pub async fn ended_since(&self, since: DateTime<Utc>) -> Result<Vec<String>> {
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

    /// Deletes what can make no difference any more.
    pub async fn prune(&self) -> Result<()> {
        let now = Utc::now();
        for (delete, before) in [
            ("DELETE FROM user_sessions WHERE expires_at < ? LIMIT 10000", now),
            ("DELETE FROM user_used_refresh_tokens WHERE used_at < ? LIMIT 10000", now - self.lifetime),
            ("DELETE FROM user_ended_tokens WHERE expires_at < ? LIMIT 10000", now - Duration::from_secs(3600)),
        ] {
            sqlx::query(delete).bind(before).execute(&self.pool).await?;
        }
        Ok(())
    }

    fn opened(&self, sid: Uuid, user: UserId, email: &str, username: &str) -> Opened {
        let (email, username) = (email.to_owned(), username.to_owned());
        Opened { sid, user, email, username, refresh_token: RefreshToken::generate(), refresh_lifetime: self.lifetime }
    }
}

impl Refreshable {
    fn counts(&self) -> bool {
        self.revoked_at.is_none() && self.expires_at > Utc::now()
    }
}

async fn revoke(connection: &mut MySqlConnection, user: UserId, sid: &str) -> Result<bool> {
    let revoked =
        sqlx::query("UPDATE user_sessions SET revoked_at = ? WHERE sid = ? AND user_id = ? AND revoked_at IS NULL")
            .bind(Utc::now())
            .bind(sid)
            .bind(user)
            .execute(connection)
            .await?;
    Ok(revoked.rows_affected() > 0)
}

/// A token of the original belongs to no session; it is remembered by itself.
async fn end_token(connection: &mut MySqlConnection, me: &CurrentUser) -> Result<()> {
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
