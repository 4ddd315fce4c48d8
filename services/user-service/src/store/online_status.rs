//! The column `is_online`: the status that the last event of each user announced.
//!
//! Redis decides who is online. The column follows it, and a change of the column commits together with its event, so
//! each change is announced once however many replicas sweep.

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use common::events::user::UserOnlineStatusChanged;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;
use engines::presence::Presence;

use super::ProfileCache;

/// Changes the column to the state of the presence keys.
#[derive(Clone)]
pub struct OnlineStatus {
    pool: MySqlPool,
    outbox: Outbox,
    presence: Presence,
    cache: ProfileCache,
}

impl OnlineStatus {
    pub fn new(pool: MySqlPool, outbox: Outbox, presence: Presence, cache: ProfileCache) -> Self {
        Self { pool, outbox, presence, cache }
    }

    /// Marks the users offline that have no presence key, each with the time of its last sign of life.
    pub async fn mark_offline(&self, last_seen: &[(UserId, DateTime<Utc>)]) -> Result<()> {
        let users: Vec<UserId> = last_seen.iter().map(|(user, _)| *user).collect();
        let mut tx = mysql::begin(&self.pool).await?;
        let online = lock_marked(&mut tx, &users, true).await?;
        // Read under the row locks: a concurrent login writes the key before it waits for the row.
        let absent = self.by_key(&online, false).await?;
        let changed: Vec<_> = last_seen.iter().filter(|(user, _)| absent.contains(user)).copied().collect();
        set_offline(&mut tx, &self.outbox, &changed).await?;
        tx.commit().await?;
        if !changed.is_empty() {
            self.outbox.wake();
            self.cache.invalidate(&absent).await;
        }
        Ok(())
    }

    /// Marks the users online that have a presence key.
    pub async fn mark_online(&self, users: &[UserId]) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let offline = lock_marked(&mut tx, users, false).await?;
        let present = self.by_key(&offline, true).await?;
        set_online(&mut tx, &self.outbox, &present).await?;
        tx.commit().await?;
        if !present.is_empty() {
            self.outbox.wake();
        }
        Ok(())
    }

    /// Those of these users that are marked offline.
    pub async fn marked_offline(&self, users: &[UserId]) -> Result<Vec<UserId>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query =
            mysql::with_ids(QueryBuilder::new("SELECT id FROM users WHERE is_online = FALSE AND id IN "), users);
        Ok(query.build_query_scalar().persistent(false).fetch_all(&self.pool).await?)
    }

    /// One page of the users that are marked online: the `limit` smallest ids above `after`.
    pub async fn marked_online(&self, after: UserId, limit: u32) -> Result<Vec<UserId>> {
        let online = sqlx::query_scalar("SELECT id FROM users WHERE is_online = TRUE AND id > ? ORDER BY id LIMIT ?");
        Ok(online.bind(after).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Those of these users that have a presence key, or with `present = false` those that have none.
    ///
    /// # Errors
    /// Fails without Redis: a user whose key cannot be read is not absent.
    async fn by_key(&self, users: &[UserId], present: bool) -> Result<Vec<UserId>> {
        let online = self.presence.try_online(users).await?;
        Ok(users.iter().zip(online).filter(|(_, online)| *online == present).map(|(user, _)| *user).collect())
    }
}

/// Locks and returns those of these users that are marked online or offline, in ascending order to avoid deadlocks.
async fn lock_marked(tx: &mut MySqlConnection, users: &[UserId], online: bool) -> Result<Vec<UserId>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!("SELECT id FROM users WHERE is_online = {online} AND id IN ");
    let mut query = mysql::with_ids(QueryBuilder::new(select), users);
    query.push(" ORDER BY id FOR UPDATE");
    Ok(query.build_query_scalar().persistent(false).fetch_all(tx).await?)
}

/// Marks users online and appends an event for each one that was marked offline.
pub(super) async fn set_online(tx: &mut MySqlConnection, outbox: &Outbox, users: &[UserId]) -> Result<()> {
    for user in users {
        let update = sqlx::query("UPDATE users SET is_online = TRUE WHERE id = ? AND is_online = FALSE");
        if update.bind(user).execute(&mut *tx).await?.rows_affected() > 0 {
            outbox.append(tx, &UserOnlineStatusChanged { user_id: *user, is_online: true }).await?;
        }
    }
    Ok(())
}

/// Marks users offline and appends an event for each one that was marked online.
pub(super) async fn set_offline(
    tx: &mut MySqlConnection,
    outbox: &Outbox,
    last_seen: &[(UserId, DateTime<Utc>)],
) -> Result<()> {
    for (user, seen_at) in last_seen {
        let update =
            sqlx::query("UPDATE users SET is_online = FALSE, last_seen_at = ? WHERE id = ? AND is_online = TRUE");
        if update.bind(seen_at).bind(user).execute(&mut *tx).await?.rows_affected() > 0 {
            outbox.append(tx, &UserOnlineStatusChanged { user_id: *user, is_online: false }).await?;
        }
    }
    Ok(())
}
