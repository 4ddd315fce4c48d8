//! The column `is_online`: what was last told to the others. It decides that a change is told once.

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use common::error::Result;
use common::events::user::UserOnlineStatusChanged;
use common::id::UserId;
use common::mysql;
use common::outbox::Outbox;
use common::presence::Presence;
use common::redis::Redis;

use super::{ProfileCache, among};

/// Changes of the column from what Redis says.
#[derive(Clone)]
pub struct Status {
    pool: MySqlPool,
    outbox: Outbox,
    redis: Redis,
    presence: Presence,
    cache: ProfileCache,
}

impl Status {
    pub fn new(pool: MySqlPool, outbox: Outbox, redis: Redis, presence: Presence, cache: ProfileCache) -> Self {
        Self { pool, outbox, redis, presence, cache }
    }

    /// Turns those offline whose key is gone, each once, whatever the number of replicas.
    pub async fn lapse(&self, seen: &[(UserId, DateTime<Utc>)]) -> Result<()> {
        let users: Vec<UserId> = seen.iter().map(|(user, _)| *user).collect();
        let mut tx = mysql::begin(&self.pool).await?;
        let told_online = locked(&mut tx, &users, true).await?;
        // Looked at under the locks: a login in between has set the key before it waits for the row.
        let gone = self.by_key(&told_online, false).await?;
        let lapsed: Vec<_> = seen.iter().filter(|(user, _)| gone.contains(user)).copied().collect();
        offline(&mut tx, &self.outbox, &lapsed).await?;
        tx.commit().await?;
        if !lapsed.is_empty() {
            self.outbox.wake();
            self.cache.forget(&gone).await;
        }
        Ok(())
    }

    /// Turns those online who have a key, each once.
    pub async fn rise(&self, users: &[UserId]) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let told_offline = locked(&mut tx, users, false).await?;
        let present = self.by_key(&told_offline, true).await?;
        online(&mut tx, &self.outbox, &present).await?;
        tx.commit().await?;
        if !present.is_empty() {
            self.outbox.wake();
        }
        Ok(())
    }

    /// Those of these users of whom the others were told last that they are offline.
    pub async fn told_offline(&self, users: &[UserId]) -> Result<Vec<UserId>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = among(QueryBuilder::new("SELECT id FROM users WHERE is_online = FALSE AND id IN "), users);
        Ok(query.build_query_scalar().persistent(false).fetch_all(&self.pool).await?)
    }

    /// A page of those of whom the others were told last that they are online.
    pub async fn told_online(&self, after: UserId, page: u32) -> Result<Vec<UserId>> {
        let online = sqlx::query_scalar("SELECT id FROM users WHERE is_online = TRUE AND id > ? ORDER BY id LIMIT ?");
        Ok(online.bind(after).bind(page).fetch_all(&self.pool).await?)
    }

    /// Those of these users who have a presence key, or who have none. Fails without Redis: silence is no absence.
    async fn by_key(&self, users: &[UserId], present: bool) -> Result<Vec<UserId>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = users.iter().map(|user| self.presence.key(*user)).collect();
        let found: Vec<Option<String>> = redis::AsyncCommands::mget(&mut self.redis.connection(), keys).await?;
        Ok(users.iter().zip(found).filter(|(_, key)| key.is_some() == present).map(|(user, _)| *user).collect())
    }
}

/// Locks the rows of these users that say this, in one order.
async fn locked(tx: &mut MySqlConnection, users: &[UserId], online: bool) -> Result<Vec<UserId>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!("SELECT id FROM users WHERE is_online = {online} AND id IN ");
    let mut query = among(QueryBuilder::new(select), users);
    query.push(" ORDER BY id FOR UPDATE");
    Ok(query.build_query_scalar().persistent(false).fetch_all(tx).await?)
}

/// Marks people online and tells of those who were not.
pub(super) async fn online(tx: &mut MySqlConnection, outbox: &Outbox, users: &[UserId]) -> Result<()> {
    for user in users {
        let changed = sqlx::query("UPDATE users SET is_online = TRUE WHERE id = ? AND is_online = FALSE");
        if changed.bind(user).execute(&mut *tx).await?.rows_affected() > 0 {
            outbox.append(tx, &UserOnlineStatusChanged { user_id: *user, is_online: true }).await?;
        }
    }
    Ok(())
}

/// Marks people offline and tells of those who were not.
pub(super) async fn offline(tx: &mut MySqlConnection, outbox: &Outbox, seen: &[(UserId, DateTime<Utc>)]) -> Result<()> {
    for (user, seen_at) in seen {
        let changed =
            sqlx::query("UPDATE users SET is_online = FALSE, last_seen_at = ? WHERE id = ? AND is_online = TRUE");
        if changed.bind(seen_at).bind(user).execute(&mut *tx).await?.rows_affected() > 0 {
            outbox.append(tx, &UserOnlineStatusChanged { user_id: *user, is_online: false }).await?;
        }
    }
    Ok(())
}
