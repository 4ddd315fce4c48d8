//! Exchanging refresh tokens.

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;

use common::error::Error;
use common::events::notification::RefreshTokenReused;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;

use super::{ClientInfo, SessionGrant, Sessions};
use crate::domain::{Presented, RefreshFamily, RefreshToken, RefreshTokenHash, SuccessorSalt};
use crate::store::accounts::lock_account;
use crate::store::revocations::set_revoked;

/// The session of a presented refresh token.
#[derive(Clone, Debug)]
pub struct TokenHolder {
    pub sid: String,
    pub user_id: UserId,
    /// Whether the token is exchanged: it is the current one or its immediate predecessor. An older one ends the session.
    pub is_exchangeable: bool,
}

/// The outcome of presenting a refresh token.
pub enum RefreshOutcome {
    /// The token was exchanged for its successor, now or at most 30 s ago.
    Rotated(SessionGrant),
    /// The token is older than the predecessor of the current one, so a copy of it exists. The session with this id is
    /// revoked.
    Reused(String),
    /// The token is unknown or expired, its session is revoked, or its account is deactivated.
    Refused,
}

#[derive(sqlx::FromRow)]
struct HolderRow {
    sid: String,
    user_id: UserId,
    #[sqlx(flatten)]
    family: FamilyRow,
}

/// The columns of a [`RefreshFamily`].
#[derive(sqlx::FromRow)]
struct FamilyRow {
    refresh_hash: Vec<u8>,
    successor_salt: Option<Vec<u8>>,
    last_used_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct RefreshableSession {
    #[sqlx(flatten)]
    family: FamilyRow,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl Sessions {
    /// The session to which a refresh token belongs, whether or not the token was exchanged before.
    pub async fn holder(&self, token: &str) -> Result<Option<TokenHolder>> {
        let presented = RefreshTokenHash::of(token);
        let holder = sqlx::query_as(
            "SELECT sid, user_id, refresh_hash, successor_salt, last_used_at FROM user_sessions WHERE refresh_hash = ?
             UNION ALL
             SELECT s.sid, s.user_id, s.refresh_hash, s.successor_salt, s.last_used_at FROM user_used_refresh_tokens u
             JOIN user_sessions s ON s.sid = u.sid WHERE u.refresh_hash = ? LIMIT 1",
        );
        let hash = presented.0.as_slice();
        let holder: Option<HolderRow> = holder.bind(hash).bind(hash).fetch_optional(&self.pool).await?;
        let holder = holder.map(|HolderRow { sid, user_id, family }| {
            let is_exchangeable = !matches!(family.read()?.classify(token, Utc::now()), Presented::Older);
            Ok(TokenHolder { sid, user_id, is_exchangeable })
        });
        holder.transpose()
    }

    /// Exchanges a refresh token for its successor.
    ///
    /// The immediate predecessor of the current token gets the same successor again, until that was used and for at
    /// most 30 s: the answer to the first exchange may be lost, or two tabs present the token at the same moment. Any
    /// older token revokes the session: the owner and a thief may both have it, and the server cannot distinguish them.
    ///
    /// The account is locked before its session, as everywhere, so a password change or a deactivation that commits
    /// first is seen.
    pub async fn refresh(&self, holder: &TokenHolder, token: &str, client: &ClientInfo) -> Result<RefreshOutcome> {
        let (sid, user) = (&holder.sid, holder.user_id);
        let mut tx = mysql::begin(&self.pool).await?;
        let account = lock_account(&mut tx, user).await?;
        let session: Option<RefreshableSession> = sqlx::query_as(
            "SELECT refresh_hash, successor_salt, created_at, last_used_at, expires_at, revoked_at
             FROM user_sessions
             WHERE sid = ? FOR UPDATE",
        )
        .bind(sid)
        .fetch_optional(&mut *tx)
        .await?;
        let now = Utc::now();
        let Some(session) = session.filter(|session| session.is_live(now)) else {
            return Ok(RefreshOutcome::Refused);
        };
        let Some(account) = account.filter(|account| account.is_active) else { return Ok(RefreshOutcome::Refused) };
        // Zero or negative once the session is too old.
        let rest = (session.created_at + self.bounds.lifetime - now).to_std().unwrap_or_default();
        if rest.is_zero() {
            return Ok(RefreshOutcome::Refused);
        }
        let mut grant = self.grant(sid.parse().map_err(Error::internal)?, &account, rest);
        match session.family.read()?.classify(token, now) {
            Presented::Current => {
                let salt = SuccessorSalt::generate();
                grant.refresh_token = RefreshToken::successor(token, &salt);
                self.rotate(&mut tx, RefreshTokenHash::of(token), salt, &grant).await?;
            }
            Presented::Predecessor(successor) => {
                grant.refresh_token = successor;
                let granted = (session.expires_at - now).to_std().unwrap_or_default();
                grant.refresh_lifetime = granted.min(rest);
                self.prolong_revocation(&mut tx, sid, now).await?;
            }
            Presented::Older => {
                set_revoked(&mut tx, user, sid).await?;
                let notice = RefreshTokenReused { user_id: user, origin: client.origin(Some(grant.sid)) };
                self.outbox.append(&mut tx, &notice).await?;
                tx.commit().await?;
                self.outbox.wake();
                return Ok(RefreshOutcome::Reused(sid.clone()));
            }
        }
        tx.commit().await?;
        Ok(RefreshOutcome::Rotated(grant))
    }

    /// Puts a new refresh token in the place of a used one.
    async fn rotate(
        &self,
        tx: &mut MySqlConnection,
        used: RefreshTokenHash,
        salt: SuccessorSalt,
        grant: &SessionGrant,
    ) -> Result<()> {
        let now = Utc::now();
        sqlx::query("INSERT INTO user_used_refresh_tokens (refresh_hash, sid, used_at) VALUES (?, ?, ?)")
            .bind(used.0.as_slice())
            .bind(grant.sid.to_string())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            // MySQL assigns from left to right, so the first assignment reads the old expiry.
            "UPDATE user_sessions SET tokens_expire_at = GREATEST(COALESCE(tokens_expire_at, expires_at), ?),
                 refresh_hash = ?, successor_salt = ?, last_used_at = ?, expires_at = ?
             WHERE sid = ?",
        )
        .bind(now + self.bounds.token_lifetime)
        .bind(grant.refresh_token.hash().0.as_slice())
        .bind(salt.0.as_slice())
        .bind(now)
        .bind(now + grant.refresh_lifetime)
        .bind(grant.sid.to_string())
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Records that the session gets another access token for the same refresh token. An earlier access token may live
    /// longer, if the setting was shortened.
    async fn prolong_revocation(&self, tx: &mut MySqlConnection, sid: &str, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "UPDATE user_sessions SET tokens_expire_at = GREATEST(COALESCE(tokens_expire_at, expires_at), ?)
             WHERE sid = ?",
        )
        .bind(now + self.bounds.token_lifetime)
        .bind(sid)
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl RefreshableSession {
    fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

impl FamilyRow {
    fn read(&self) -> Result<RefreshFamily> {
        let bytes = |column: &[u8]| <[u8; 32]>::try_from(column).map_err(Error::internal);
        Ok(RefreshFamily {
            current: RefreshTokenHash(bytes(&self.refresh_hash)?),
            salt: self.successor_salt.as_deref().map(bytes).transpose()?.map(SuccessorSalt),
            rotated_at: self.last_used_at,
        })
    }
}
