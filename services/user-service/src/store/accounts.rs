//! Accounts in MySQL: registration and the credentials of a login.

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{MySqlConnection, MySqlPool};

use common::error::Error;
use common::events::user::UserRegistered;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;

use super::{directory, look_alikes, user_not_found};
use crate::domain::{CanonicalEmail, DisplayName, Email, Names, Network, Skeleton, Username};

/// The columns of `users` that authentication needs.
#[derive(Clone)]
pub struct Accounts {
    pool: MySqlPool,
    outbox: Outbox,
}

/// The input of a registration.
pub struct NewAccount {
    pub email: Email,
    pub username: Username,
    pub display_name: Option<DisplayName>,
    pub password_hash: String,
}

/// An account as its registration created it.
pub struct RegisteredAccount {
    pub id: UserId,
    pub email: String,
    pub username: String,
    pub display_name: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The stored values against which a login is checked.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Credentials {
    pub id: UserId,
    pub email: String,
    pub username: String,
    pub password_hash: String,
    pub is_active: bool,
}

/// The account that a login names.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LoginAccount {
    #[sqlx(flatten)]
    pub credentials: Credentials,
    /// The account's last recorded login from the caller's network.
    pub last_login_at: Option<DateTime<Utc>>,
}

impl Accounts {
    pub fn new(pool: MySqlPool, outbox: Outbox) -> Self {
        Self { pool, outbox }
    }

    /// Inserts an account, its entries in the search index and its event in one transaction.
    ///
    /// # Errors
    /// Returns a conflict if the e-mail address or the username is taken, or a name looks like the username of another
    /// account. The unique keys decide, except for display names, so concurrent registrations create one account.
    pub async fn register(&self, new: &NewAccount) -> Result<RegisteredAccount> {
        // Concurrent inserts that collide in several keys deadlock.
        mysql::retry_on_deadlock(|| self.insert(new)).await
    }

    async fn insert(&self, new: &NewAccount) -> Result<RegisteredAccount> {
        let account = RegisteredAccount {
            id: UserId(0),
            email: new.email.spelling().to_owned(),
            username: new.username.as_str().to_owned(),
            display_name: new.display_name.clone().map(Into::into),
            created_at: Utc::now().trunc_subsecs(6),
        };
        let mut tx = mysql::begin(&self.pool).await?;
        let inserted = sqlx::query(
            "INSERT INTO users
             (email, email_canonical, password_hash, username, username_skeleton, display_name, is_online, is_active,
              created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, FALSE, TRUE, ?, ?)",
        )
        .bind(&account.email)
        .bind(new.email.canonical().as_str())
        .bind(&new.password_hash)
        .bind(&account.username)
        .bind(Skeleton::of(&account.username).as_ref().map(Skeleton::as_str))
        .bind(&account.display_name)
        .bind(account.created_at)
        .bind(account.created_at)
        .execute(&mut *tx)
        .await;
        let id = match inserted {
            Ok(inserted) => UserId(inserted.last_insert_id() as i64),
            Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => {
                tx.rollback().await?;
                return Err(self.conflict(&new.email, &account.username).await?.into());
            }
            Err(e) => return Err(e.into()),
        };
        let account = RegisteredAccount { id, ..account };
        look_alikes::refuse_username(&mut tx, id, &new.username).await?;
        if let Some(display_name) = &account.display_name {
            look_alikes::refuse_imitation(&mut tx, id, &account.username, display_name).await?;
        }
        directory::index(&mut tx, id, account.names()).await?;
        self.outbox.append(&mut tx, &account.event()).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(account)
    }

    /// The conflict to report. If both values are taken it names the e-mail address, in any order of the keys.
    async fn conflict(&self, email: &Email, username: &str) -> Result<Error> {
        let (email_taken, username_taken): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM users WHERE email_canonical = ? OR email = ?),
                    EXISTS (SELECT 1 FROM users WHERE username = ?)",
        )
        .bind(email.canonical().as_str())
        .bind(email.spelling())
        .bind(username)
        .fetch_one(&self.pool)
        .await?;
        Ok(Error::conflict(match (email_taken, username_taken) {
            (true, _) => "Email already registered",
            (false, true) => "Username already taken",
            (false, false) => "Username looks like the username of another user",
        }))
    }

    /// The account with this e-mail address, for a login from this network.
    ///
    /// A row of an original has no canonical form until the backfill, and keeps none if another account has the same
    /// form. The key of the original finds such a row.
    pub async fn by_email(&self, email: &Email, network: Option<Network>) -> Result<Option<LoginAccount>> {
        let candidates: Vec<LoginAccount> = sqlx::query_as(
            "SELECT id, email, username, password_hash, is_active, last_login_at FROM (
                SELECT id, email, username, password_hash, is_active, 0 AS step FROM users WHERE email_canonical = ?
                UNION ALL
                SELECT id, email, username, password_hash, is_active, 1 AS step FROM users
                WHERE email IN (?, ?) AND email_canonical IS NULL
             ) found
             LEFT JOIN user_login_networks n ON n.user_id = found.id AND n.network = ?
             ORDER BY step, id",
        )
        .bind(email.canonical().as_str())
        .bind(email.spelling())
        .bind(email.canonical().as_str())
        .bind(network.map(|network| network.to_string()))
        .fetch_all(&self.pool)
        .await?;
        Ok(meant_by(email, candidates))
    }

    /// The account of a user.
    ///
    /// # Errors
    /// Returns a not-found error if it does not exist.
    pub async fn existing(&self, id: UserId) -> Result<Credentials> {
        let found = sqlx::query_as("SELECT id, email, username, password_hash, is_active FROM users WHERE id = ?");
        Ok(found.bind(id).fetch_optional(&self.pool).await?.ok_or_else(user_not_found)?)
    }

    /// Replaces a hash by another one of the same password. A password that was changed in the meantime stays. Returns
    /// whether the hash was replaced.
    pub async fn rehash(&self, id: UserId, old: &str, new: &str) -> Result<bool> {
        let update = sqlx::query("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?");
        Ok(update.bind(new).bind(id).bind(old).execute(&self.pool).await?.rows_affected() > 0)
    }
}

/// Locks an account's row and reads it, so that a login, a refresh, a password change and a deactivation of one account
/// happen one after the other.
pub(super) async fn lock_account(tx: &mut MySqlConnection, user: UserId) -> Result<Option<Credentials>> {
    let locked =
        sqlx::query_as("SELECT id, email, username, password_hash, is_active FROM users WHERE id = ? FOR UPDATE");
    Ok(locked.bind(user).fetch_optional(tx).await?)
}

impl RegisteredAccount {
    fn names(&self) -> Names<'_> {
        Names { username: &self.username, display_name: self.display_name.as_deref() }
    }

    fn event(&self) -> UserRegistered {
        UserRegistered {
            user_id: self.id,
            email: self.email.clone(),
            username: self.username.clone(),
            display_name: self.display_name.clone().unwrap_or_else(|| self.username.clone()),
        }
    }
}

/// The account that a spelling means: the one with exactly this spelling, otherwise the first one with its form. The key
/// of the original also finds other addresses, because its collation ignores accents.
fn meant_by(email: &Email, candidates: Vec<LoginAccount>) -> Option<LoginAccount> {
    let same = |found: &LoginAccount| CanonicalEmail::of(&found.credentials.email).as_ref() == Some(email.canonical());
    let mut same: Vec<LoginAccount> = candidates.into_iter().filter(same).collect();
    let exact = same.iter().position(|found| found.credentials.email == email.spelling()).unwrap_or(0);
    (!same.is_empty()).then(|| same.swap_remove(exact))
}
