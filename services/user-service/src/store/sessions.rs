//! Sessions in MySQL, from the login to the logout, the revocation or the expiry of the last refresh token.

mod pruning;
mod refresh;
mod revocation;

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool};
use uuid::Uuid;

use common::error::Error;
use common::events::notification::{LoginFromNewNetwork, Origin, PasswordChanged};
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;
use engines::presence::Presence;
use service::auth::CurrentUser;

pub use refresh::RefreshOutcome;

use super::accounts::lock_account;
use super::deactivations::refuse_deactivated;
use super::revocations::{insert_ended_token, revoked_at, set_revoked};
use super::{Credentials, LoginNetworks, lock_user, online_status};
use crate::domain::{Network, RefreshToken};

/// The tables `user_sessions`, `user_used_refresh_tokens` and `user_ended_tokens`.
#[derive(Clone)]
pub struct Sessions {
    pool: MySqlPool,
    outbox: Outbox,
    presence: Presence,
    networks: LoginNetworks,
    bounds: SessionBounds,
}

/// The bounds of sessions, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct SessionBounds {
    /// A session expires so long after its last refresh.
    pub refresh_lifetime: Duration,
    /// A session expires so long after its login, however often it is refreshed.
    pub lifetime: Duration,
    /// An access token expires so long after its session was opened or refreshed.
    pub token_lifetime: Duration,
    /// The live sessions of one user.
    pub per_user: u32,
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

    /// The origin of a notice about an act of this client.
    pub fn origin(&self, session_id: Option<Uuid>) -> Origin {
        Origin { session_id, address: self.address, user_agent: self.user_agent.clone() }
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
    /// The ids of the sessions that ended because the user had too many.
    pub ended: Vec<String>,
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

impl Sessions {
    pub fn new(
        pool: MySqlPool,
        outbox: Outbox,
        presence: Presence,
        networks: LoginNetworks,
        bounds: SessionBounds,
    ) -> Self {
        Self { pool, outbox, presence, networks, bounds }
    }

    /// Refuses what [`open`](Self::open) would refuse, before a code is used up for it.
    ///
    /// # Errors
    /// Returns a 403 error if the account is deactivated, and a 503 error until its reactivation is known everywhere.
    pub async fn admit(&self, account: &Credentials) -> Result<()> {
        refuse_deactivated(&self.pool, account).await
    }

    /// Opens a session, records its network and marks its user online. An event is appended if the user was marked
    /// offline, and a notice if the network is new to the account or not known.
    ///
    /// Returns `None` if the stored hash is no longer the one that `account` was verified against: the password was
    /// changed, or a concurrent login replaced an outdated hash. The locked row orders a login and a password change, so
    /// the change finds and ends every session that was opened with the old password.
    ///
    /// # Errors
    /// Returns a 403 error if the account is deactivated, and a 503 error until its reactivation is known everywhere.
    pub async fn open(&self, account: &Credentials, client: &ClientInfo) -> Result<Option<SessionGrant>> {
        // The sweep of presence changes rows of many users in one transaction.
        mysql::retry_on_deadlock(|| self.open_once(account, client)).await
    }

    async fn open_once(&self, account: &Credentials, client: &ClientInfo) -> Result<Option<SessionGrant>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let locked = lock_account(&mut tx, account.id).await?;
        let Some(locked) = locked.filter(|locked| locked.password_hash == account.password_hash) else {
            return Ok(None);
        };
        refuse_deactivated(&mut *tx, &locked).await?;
        let mut grant = self.grant(Uuid::new_v4(), &locked, self.bounds.lifetime);
        grant.ended = self.end_excess(&mut tx, account.id).await?;
        online_status::set_online(&mut tx, &self.outbox, &[account.id]).await?;
        self.insert(&mut tx, &grant, client).await?;
        let is_new = match client.network() {
            Some(network) => self.networks.record(&mut tx, account.id, network).await?,
            None => true,
        };
        if is_new {
            let notice = LoginFromNewNetwork { user_id: account.id, origin: client.origin(Some(grant.sid)) };
            self.outbox.append(&mut tx, &notice).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(grant))
    }

    async fn insert(&self, tx: &mut MySqlConnection, grant: &SessionGrant, client: &ClientInfo) -> Result<()> {
        let now = Utc::now();
        sqlx::query(
            "INSERT INTO user_sessions
             (sid, user_id, refresh_hash, user_agent, ip, created_at, last_used_at, expires_at, tokens_expire_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(grant.sid.to_string())
        .bind(grant.user)
        .bind(grant.refresh_token.hash().0.as_slice())
        .bind(&client.user_agent)
        .bind(client.address.map(|address| address.to_string()))
        .bind(now)
        .bind(now)
        .bind(now + grant.refresh_lifetime)
        .bind(now + self.bounds.token_lifetime)
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Revokes the caller's session, and marks the user offline unless another session shows signs of life.
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
        self.end_presence(&mut tx, me.id, &me.session).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(())
    }

    /// Marks a user offline whose session ends, unless another session shows signs of life. The transaction has locked the user's
    /// row, which the presence sweep also locks: otherwise the sweep could read the key before it is deleted and mark the user
    /// online again.
    async fn end_presence(&self, tx: &mut MySqlConnection, user: UserId, session: &str) -> Result<()> {
        let offline = self.presence.end_session(user, session).await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "the presence key was not deleted at the end of a session, it expires");
            false
        });
        if offline {
            online_status::set_offline(tx, &self.outbox, &[(user, Utc::now())]).await?;
        }
        Ok(())
    }

    /// The live sessions of a user, the most recently used first.
    pub async fn of(&self, user: UserId) -> Result<Vec<Session>> {
        let sessions = sqlx::query_as(
            "SELECT sid, created_at, last_used_at, user_agent, ip FROM user_sessions
             WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? AND created_at > ?
             ORDER BY last_used_at DESC, sid",
        );
        let now = Utc::now();
        Ok(sessions.bind(user).bind(now).bind(now - self.bounds.lifetime).fetch_all(&self.pool).await?)
    }

    /// Whether the caller's session was opened by a login at most `age` ago.
    pub async fn is_recent(&self, me: &CurrentUser, age: Duration) -> Result<bool> {
        let recent = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM user_sessions WHERE sid = ? AND user_id = ? AND created_at > ?)",
        );
        Ok(recent.bind(&*me.session).bind(me.id).bind(Utc::now() - age).fetch_one(&self.pool).await?)
    }

    /// Sets a new password, revokes the user's sessions except the caller's, forgets the networks of all other logins, and appends
    /// a notice. Returns the ids of the revoked sessions.
    ///
    /// Returns `None` if the stored hash is no longer `verified`.
    ///
    /// # Errors
    /// Returns a 401 error if the account is deactivated.
    pub async fn change_password(
        &self,
        me: &CurrentUser,
        verified: &str,
        hash: &str,
        client: &ClientInfo,
    ) -> Result<Option<Vec<String>>> {
        let (user, keep) = (me.id, &*me.session);
        let mut tx = mysql::begin(&self.pool).await?;
        let locked = lock_account(&mut tx, user).await?;
        // Under the lock, so that no other change of this account has the same time.
        let now = Utc::now().trunc_subsecs(6);
        let Some(locked) = locked.filter(|locked| locked.password_hash == verified) else { return Ok(None) };
        if !locked.is_active {
            return Err(Error::not_authenticated().into());
        }
        sqlx::query("UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ?")
            .bind(hash)
            .bind(now)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE user_sessions SET revoked_at = ? WHERE user_id = ? AND sid <> ? AND revoked_at IS NULL")
            .bind(now)
            .bind(user)
            .bind(keep)
            .execute(&mut *tx)
            .await?;
        let others = revoked_at(&mut tx, user, now).await?;
        self.networks.forget_others(&mut tx, user, client.network()).await?;
        let ended_sessions = u32::try_from(others.len()).map_err(Error::internal)?;
        let notice = PasswordChanged { user_id: user, origin: client.origin(me.sid), ended_sessions };
        self.outbox.append(&mut tx, &notice).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(others))
    }

    /// Ends sessions of a user, those first that have been unused for longest, until one more is allowed. Returns the
    /// ids of the ended sessions.
    async fn end_excess(&self, tx: &mut MySqlConnection, user: UserId) -> Result<Vec<String>> {
        let (now, live) = (Utc::now().trunc_subsecs(6), "user_id = ? AND revoked_at IS NULL AND expires_at > ?");
        let count = format!("SELECT COUNT(*) FROM user_sessions WHERE {live}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).bind(user).bind(now).fetch_one(&mut *tx).await?;
        let excess = count + 1 - i64::from(self.bounds.per_user);
        if excess <= 0 {
            return Ok(Vec::new());
        }
        let end = format!("UPDATE user_sessions SET revoked_at = ? WHERE {live} ORDER BY last_used_at, sid LIMIT ?");
        sqlx::query(AssertSqlSafe(end)).bind(now).bind(user).bind(now).bind(excess).execute(&mut *tx).await?;
        revoked_at(tx, user, now).await
    }

    /// `rest` is the time until the session is too old to be refreshed.
    fn grant(&self, sid: Uuid, account: &Credentials, rest: Duration) -> SessionGrant {
        SessionGrant {
            sid,
            user: account.id,
            email: account.email.clone(),
            username: account.username.clone(),
            refresh_token: RefreshToken::generate(),
            refresh_lifetime: self.bounds.refresh_lifetime.min(rest),
            ended: Vec::new(),
        }
    }
}
