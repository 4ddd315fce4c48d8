//! Accounts that an operator deactivates or reactivates in MySQL, and how far this system has followed.

use chrono::Utc;
use futures_util::Stream;
use sqlx::{AssertSqlSafe, MySqlExecutor, MySqlPool, QueryBuilder};

use common::error::Error;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;

use super::Credentials;

/// The column `users.is_active` and the table `user_deactivations`.
#[derive(Clone)]
pub struct Deactivations {
    pool: MySqlPool,
}

/// The queries of the lists of accounts, which one query asks together while nothing happens.
const NOT_ENDED: &str = "SELECT u.id FROM users u LEFT JOIN user_deactivations d ON d.user_id = u.id
    WHERE u.is_active = FALSE AND (d.user_id IS NULL OR d.ended = FALSE)";
const PENDING: &str = "SELECT user_id FROM user_deactivations WHERE copied = FALSE AND ended";
const REACTIVATED: &str =
    "SELECT d.user_id FROM user_deactivations d JOIN users u ON u.id = d.user_id WHERE u.is_active";

/// A session that opens after the sessions of the account were ended, and before that is forgotten, would survive the next
/// deactivation.
///
/// # Errors
/// Returns a 403 error if the account is deactivated, and a 503 error if it is recorded.
pub(super) async fn refuse_deactivated(executor: impl MySqlExecutor<'_>, account: &Credentials) -> Result<()> {
    if !account.is_active {
        return Err(Error::forbidden("Account is deactivated").into());
    }
    let recorded = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM user_deactivations WHERE user_id = ?)");
    if recorded.bind(account.id).fetch_one(executor).await? {
        return Err(Error::unavailable("redis", "the reactivation of the account is not known everywhere yet").into());
    }
    Ok(())
}

impl Deactivations {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// Whether [`not_ended`](Self::not_ended), [`pending`](Self::pending) or [`reactivated`](Self::reactivated) has an
    /// account, in one round trip.
    pub async fn any_to_follow(&self) -> Result<bool> {
        let any = format!("SELECT EXISTS ({NOT_ENDED}) OR EXISTS ({PENDING}) OR EXISTS ({REACTIVATED})");
        Ok(sqlx::query_scalar(AssertSqlSafe(any)).fetch_one(&self.pool).await?)
    }

    /// Deactivated accounts whose sessions were not ended, at most `limit`.
    pub async fn not_ended(&self, limit: usize) -> Result<Vec<UserId>> {
        self.first(NOT_ENDED, limit).await
    }

    /// Accounts whose sessions were ended, and that Redis and the search index do not know yet, at most `limit`. So a token that is
    /// refused means that its session does not return.
    pub async fn pending(&self, limit: usize) -> Result<Vec<UserId>> {
        self.first(PENDING, limit).await
    }

    /// Recorded accounts that are active again, at most `limit`.
    pub async fn reactivated(&self, limit: usize) -> Result<Vec<UserId>> {
        self.first(REACTIVATED, limit).await
    }

    async fn first(&self, query: &str, limit: usize) -> Result<Vec<UserId>> {
        let users = sqlx::query_scalar(AssertSqlSafe(format!("{query} LIMIT ?")));
        Ok(users.bind(limit as u64).fetch_all(&self.pool).await?)
    }

    /// All recorded accounts.
    pub fn recorded(&self) -> impl Stream<Item = sqlx::Result<UserId>> + Send + '_ {
        sqlx::query_scalar("SELECT user_id FROM user_deactivations ORDER BY user_id").fetch(&self.pool)
    }

    /// Revokes all sessions of the deactivated accounts among `users`, so that a reactivation does not revive them, and records the
    /// accounts. Their rows are locked first: a login that read an account as active has committed its session, or sees the
    /// deactivation, or the record if the account is active again.
    pub async fn end_sessions(&self, users: &[UserId]) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let select = QueryBuilder::new("SELECT id FROM users WHERE is_active = FALSE AND id IN ");
        let mut select = mysql::with_ids(select, users);
        select.push(" ORDER BY id FOR UPDATE");
        let deactivated: Vec<UserId> = select.build_query_scalar().persistent(false).fetch_all(&mut *tx).await?;
        if deactivated.is_empty() {
            return Ok(());
        }
        let mut update = QueryBuilder::new("UPDATE user_sessions SET revoked_at = ");
        update.push_bind(Utc::now()).push(" WHERE revoked_at IS NULL AND user_id IN ");
        mysql::with_ids(update, &deactivated).build().persistent(false).execute(&mut *tx).await?;
        let mut insert = QueryBuilder::new("INSERT INTO user_deactivations (user_id, ended) ");
        insert.push_values(deactivated, |mut row, user| _ = row.push_bind(user).push("TRUE"));
        insert.push(" ON DUPLICATE KEY UPDATE ended = TRUE").build().persistent(false).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Records accounts that Redis refuses, also if they are active again: then [`reactivated`](Self::reactivated) finds them. Whether
    /// their sessions were ended is not known.
    pub async fn record(&self, users: &[UserId]) -> Result<()> {
        let mut insert = QueryBuilder::new("INSERT IGNORE INTO user_deactivations (user_id) ");
        insert.push_values(users, |mut row, user| _ = row.push_bind(*user));
        insert.build().persistent(false).execute(&self.pool).await?;
        Ok(())
    }

    /// Redis and the search index know the deactivation of these accounts.
    pub async fn set_copied(&self, users: &[UserId]) -> Result<()> {
        let update = QueryBuilder::new("UPDATE user_deactivations SET copied = TRUE WHERE user_id IN ");
        mysql::with_ids(update, users).build().persistent(false).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets recorded accounts that are active again, after `undo` has succeeded. The rows of the accounts are locked
    /// meanwhile, so that a deactivation happens before, and keeps the account recorded, or after, and is found.
    pub async fn forget(&self, users: &[UserId], undo: impl AsyncFnOnce(&[UserId]) -> Result<()>) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let select = QueryBuilder::new("SELECT id FROM users WHERE is_active AND id IN ");
        let mut select = mysql::with_ids(select, users);
        select.push(" ORDER BY id FOR UPDATE");
        let active: Vec<UserId> = select.build_query_scalar().persistent(false).fetch_all(&mut *tx).await?;
        if active.is_empty() {
            return Ok(());
        }
        let delete = QueryBuilder::new("DELETE FROM user_deactivations WHERE user_id IN ");
        mysql::with_ids(delete, &active).build().persistent(false).execute(&mut *tx).await?;
        // A replica that copies all records to Redis at the same time waits for the commit, and records the accounts once more.
        undo(&active).await?;
        Ok(tx.commit().await?)
    }
}
