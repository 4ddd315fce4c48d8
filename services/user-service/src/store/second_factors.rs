//! Second factors in MySQL.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction};

use common::error::Error;
use common::events::notification::{
    Origin, RecoveryCodeUsed, RecoveryCodesRenewed, SecondFactorDisabled, SecondFactorEnabled, SecondFactorRefused,
};
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;

use super::{ClientInfo, lock_user};
use crate::domain::{EnteredCode, RecoveryCode, RecoveryCodeHash, TotpSecret};
use crate::vault::Vault;

/// The tables `user_second_factors` and `user_recovery_codes`.
#[derive(Clone)]
pub struct SecondFactors {
    pool: MySqlPool,
    outbox: Outbox,
    /// None without `MFA_SECRET_KEY`.
    vault: Option<Vault>,
    limit: CodeLimit,
}

/// The wrong codes of a user that are allowed in a window of time; 0 is no limit.
///
/// They are counted in MySQL and not with the other limits in Redis, so that the limit holds without Redis.
#[derive(Clone, Copy, Debug)]
pub struct CodeLimit {
    pub failures: u64,
    pub window: Duration,
}

/// The state of a second factor, for its user.
pub struct SecondFactorStatus {
    pub enabled: bool,
    pub recovery_codes_left: i64,
}

#[derive(sqlx::FromRow)]
struct SecondFactor {
    secret: Vec<u8>,
    confirmed: bool,
    failed_codes: u32,
    /// When the first of the wrong codes was entered.
    failed_since: Option<DateTime<Utc>>,
}

impl SecondFactors {
    pub fn new(pool: MySqlPool, outbox: Outbox, vault: Option<Vault>, limit: CodeLimit) -> Self {
        Self { pool, outbox, vault, limit }
    }

    pub async fn status(&self, user: UserId) -> Result<SecondFactorStatus> {
        let enabled = self.is_enabled(user).await?;
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM user_recovery_codes WHERE user_id = ?");
        Ok(SecondFactorStatus { enabled, recovery_codes_left: count.bind(user).fetch_one(&self.pool).await? })
    }

    /// Whether logins of the user need a code.
    pub async fn is_enabled(&self, user: UserId) -> Result<bool> {
        let found = sqlx::query_scalar::<_, UserId>(
            "SELECT user_id FROM user_second_factors WHERE user_id = ? AND confirmed_at IS NOT NULL",
        );
        Ok(found.bind(user).fetch_optional(&self.pool).await?.is_some())
    }

    /// Stores a new secret that [`Self::confirm`] makes effective. It replaces one that was not confirmed.
    ///
    /// # Errors
    /// Returns a conflict if a second factor is in effect, and a 403 error without `MFA_SECRET_KEY`.
    pub async fn enroll(&self, user: UserId) -> Result<TotpSecret> {
        let secret = TotpSecret::generate();
        let no_key = || unavailable("This system has no key for second factors");
        let sealed = self.vault.as_ref().ok_or_else(no_key)?.seal(user, &secret).map_err(Error::internal)?;
        let mut tx = mysql::begin(&self.pool).await?;
        lock_user(&mut tx, user).await?;
        if factor(&mut tx, user).await?.is_some_and(|factor| factor.confirmed) {
            return Err(Error::conflict("A second factor is already enabled").into());
        }
        sqlx::query("REPLACE INTO user_second_factors (user_id, secret, created_at) VALUES (?, ?, ?)")
            .bind(user)
            .bind(sealed)
            .bind(Utc::now())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(secret)
    }

    /// Puts a stored secret into effect if the code is right, with a notice. Returns the recovery codes; none for a wrong
    /// code.
    ///
    /// # Errors
    /// Returns a conflict if a second factor is in effect, a not-found error without a stored secret, and a 429 error after
    /// too many wrong codes.
    pub async fn confirm(
        &self,
        user: UserId,
        code: &EnteredCode,
        origin: &Origin,
    ) -> Result<Option<Vec<RecoveryCode>>> {
        let mut tx = mysql::begin(&self.pool).await?;
        lock_user(&mut tx, user).await?;
        let Some(factor) = factor(&mut tx, user).await? else {
            return Err(Error::not_found("No second factor waits for confirmation").into());
        };
        if factor.confirmed {
            return Err(Error::conflict("A second factor is already enabled").into());
        }
        self.limit.allow(&factor)?;
        let is_right = self.use_totp(&mut tx, user, &factor, code).await?;
        self.count(&mut tx, user, &factor, is_right).await?;
        if !is_right {
            tx.commit().await?;
            return Ok(None);
        }
        sqlx::query("UPDATE user_second_factors SET confirmed_at = ? WHERE user_id = ?")
            .bind(Utc::now())
            .bind(user)
            .execute(&mut *tx)
            .await?;
        let codes = replace_recovery_codes(&mut tx, user).await?;
        self.outbox.append(&mut tx, &SecondFactorEnabled { user_id: user, origin: origin.clone() }).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(codes))
    }

    /// Uses up a code for a login, a recovery code with a notice; none for a wrong or used one, or if no second factor is
    /// in effect.
    ///
    /// # Errors
    /// Returns a 429 error for a code of the app after too many wrong codes, as every method that takes a code.
    pub async fn verify(&self, user: UserId, code: &EnteredCode, client: &ClientInfo) -> Result<Option<()>> {
        let origin = client.origin(None);
        let Some(mut tx) = self.begin_with_code(user, code, &origin).await? else { return Ok(None) };
        if code.is_recovery_code() {
            let left = sqlx::query_scalar("SELECT COUNT(*) FROM user_recovery_codes WHERE user_id = ?");
            let codes_left: i64 = left.bind(user).fetch_one(&mut *tx).await?;
            let codes_left = u32::try_from(codes_left).map_err(Error::internal)?;
            let notice = RecoveryCodeUsed { user_id: user, origin, codes_left };
            self.outbox.append(&mut tx, &notice).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(()))
    }

    /// Removes the second factor, with a notice; none for a wrong code, or if no second factor is in effect.
    pub async fn disable(&self, user: UserId, code: &EnteredCode, origin: &Origin) -> Result<Option<()>> {
        let Some(mut tx) = self.begin_with_code(user, code, origin).await? else { return Ok(None) };
        for delete in
            ["DELETE FROM user_second_factors WHERE user_id = ?", "DELETE FROM user_recovery_codes WHERE user_id = ?"]
        {
            sqlx::query(delete).bind(user).execute(&mut *tx).await?;
        }
        let (origin, by_recovery_code) = (origin.clone(), code.is_recovery_code());
        self.outbox.append(&mut tx, &SecondFactorDisabled { user_id: user, origin, by_recovery_code }).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(()))
    }

    /// Replaces the recovery codes if the code is right, with a notice. Returns the new ones; none for a wrong code.
    ///
    /// # Errors
    /// Refuses a recovery code: if its owner has lost the app and then the answer with the new codes, no code would be left.
    pub async fn renew_recovery_codes(
        &self,
        user: UserId,
        code: &EnteredCode,
        origin: &Origin,
    ) -> Result<Option<Vec<RecoveryCode>>> {
        if code.is_recovery_code() {
            let message = "New recovery codes need a code of the authenticator app";
            return Err(Error::refused(StatusCode::BAD_REQUEST, "MFA_INVALID", message).into());
        }
        let Some(mut tx) = self.begin_with_code(user, code, origin).await? else { return Ok(None) };
        let codes = replace_recovery_codes(&mut tx, user).await?;
        self.outbox.append(&mut tx, &RecoveryCodesRenewed { user_id: user, origin: origin.clone() }).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(codes))
    }

    /// Begins a transaction that has locked the account and used up the code; none for a wrong code, or if no second factor is in
    /// effect. A wrong code is counted, with a notice if it is the first in its window.
    ///
    /// The lock of the account orders concurrent codes, so no more of them are compared than the limit allows.
    async fn begin_with_code(
        &self,
        user: UserId,
        code: &EnteredCode,
        origin: &Origin,
    ) -> Result<Option<Transaction<'static, MySql>>> {
        let mut tx = mysql::begin(&self.pool).await?;
        lock_user(&mut tx, user).await?;
        let Some(factor) = factor(&mut tx, user).await?.filter(|factor| factor.confirmed) else { return Ok(None) };
        // A recovery code cannot be guessed: wrong codes of a thief must not keep its owner out.
        if !code.is_recovery_code() {
            self.limit.allow(&factor)?;
        }
        let is_right = match code {
            EnteredCode::Recovery(hash) => use_recovery_code(&mut tx, user, *hash).await?,
            EnteredCode::Totp(_) => self.use_totp(&mut tx, user, &factor, code).await?,
        };
        self.count(&mut tx, user, &factor, is_right).await?;
        if is_right {
            return Ok(Some(tx));
        }
        if self.limit.since(&factor, Utc::now()).is_none() {
            self.outbox.append(&mut tx, &SecondFactorRefused { user_id: user, origin: origin.clone() }).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(None)
    }

    /// Counts a wrong code, or sets the count back after a right one.
    async fn count(&self, tx: &mut MySqlConnection, user: UserId, factor: &SecondFactor, is_right: bool) -> Result<()> {
        let now = Utc::now();
        let (failed_codes, failed_since) = match self.limit.since(factor, now) {
            _ if is_right => (0, None),
            Some(since) => (factor.failed_codes.saturating_add(1), Some(since)),
            None => (1, Some(now)),
        };
        sqlx::query("UPDATE user_second_factors SET failed_codes = ?, failed_since = ? WHERE user_id = ?")
            .bind(failed_codes)
            .bind(failed_since)
            .bind(user)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Uses up a code of the authenticator app: its time step and all earlier ones are refused from then on.
    async fn use_totp(
        &self,
        tx: &mut MySqlConnection,
        user: UserId,
        factor: &SecondFactor,
        code: &EnteredCode,
    ) -> Result<bool> {
        let EnteredCode::Totp(digits) = code else { return Ok(false) };
        let no_key =
            || unavailable("This system has no key for this second factor; use a recovery code if you have one");
        let vault = self.vault.as_ref().ok_or_else(no_key)?;
        let secret = vault.open(user, &factor.secret).map_err(|_| {
            tracing::warn!(user_id = user.0, "the secret of a second factor cannot be decrypted with MFA_SECRET_KEY");
            no_key()
        })?;
        let Some(step) = secret.step_of(digits, Utc::now().timestamp().unsigned_abs()) else { return Ok(false) };
        // Encrypted again, so that a previous key is needed only for factors that were not used since.
        let sealed = vault.seal(user, &secret).map_err(Error::internal)?;
        let used =
            sqlx::query("UPDATE user_second_factors SET last_step = ?, secret = ? WHERE user_id = ? AND last_step < ?");
        Ok(used.bind(step).bind(sealed).bind(user).bind(step).execute(tx).await?.rows_affected() > 0)
    }
}

impl CodeLimit {
    /// The beginning of the window that has not passed yet.
    fn since(&self, factor: &SecondFactor, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        factor.failed_since.filter(|since| now < *since + self.window)
    }

    /// # Errors
    /// Returns a 429 error if the window has as many wrong codes as the limit.
    fn allow(&self, factor: &SecondFactor) -> Result<()> {
        let now = Utc::now();
        match self.since(factor, now) {
            Some(since) if self.failures > 0 && u64::from(factor.failed_codes) >= self.failures => {
                let retry_after = (since + self.window - now).to_std().unwrap_or_default();
                Err(Error::TooMany { retry_after }.into())
            }
            _ => Ok(()),
        }
    }
}

async fn factor(tx: &mut MySqlConnection, user: UserId) -> Result<Option<SecondFactor>> {
    let query = sqlx::query_as(
        "SELECT secret, confirmed_at IS NOT NULL AS confirmed, failed_codes, failed_since
         FROM user_second_factors WHERE user_id = ?",
    );
    Ok(query.bind(user).fetch_optional(tx).await?)
}

async fn use_recovery_code(
    tx: &mut MySqlConnection,
    user: UserId,
    RecoveryCodeHash(hash): RecoveryCodeHash,
) -> Result<bool> {
    let delete = sqlx::query("DELETE FROM user_recovery_codes WHERE user_id = ? AND code_hash = ?");
    Ok(delete.bind(user).bind(hash.as_slice()).execute(tx).await?.rows_affected() > 0)
}

async fn replace_recovery_codes(tx: &mut MySqlConnection, user: UserId) -> Result<Vec<RecoveryCode>> {
    sqlx::query("DELETE FROM user_recovery_codes WHERE user_id = ?").bind(user).execute(&mut *tx).await?;
    let codes = RecoveryCode::generate_all();
    for code in &codes {
        sqlx::query("INSERT INTO user_recovery_codes (user_id, code_hash) VALUES (?, ?)")
            .bind(user)
            .bind(code.hash().0.as_slice())
            .execute(&mut *tx)
            .await?;
    }
    Ok(codes)
}

/// The operator has not set `MFA_SECRET_KEY`, or changed it without `MFA_SECRET_KEY_PREVIOUS`. Another attempt does not
/// help.
fn unavailable(message: &'static str) -> Error {
    Error::refused(StatusCode::FORBIDDEN, "MFA_UNAVAILABLE", message)
}
