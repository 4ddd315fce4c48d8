//! Blocks in MySQL.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{MySqlConnection, MySqlPool};
use utoipa::ToSchema;

use common::error::Result;
use common::events::friend::{
    FriendRemoved, FriendRequestCancelled, FriendRequestRejected, UserBlocked, UserUnblocked,
};
use common::id::UserId;
use common::mysql::retry_on_deadlock;

use crate::domain::{Pair, Relation, Status, refusal};
use crate::store::Pairs;
use crate::store::pairs::Change;

/// The table `block_users`.
#[derive(Clone)]
pub struct Blocks {
    pool: MySqlPool,
    pairs: Pairs,
}

/// Someone whom a person blocked.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Blocked {
    pub user_id: UserId,
    pub blocked_at: DateTime<Utc>,
}

/// A block as services load it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Block {
    pub id: i64,
    pub user_id: UserId,
    pub blocked_user_id: UserId,
}

impl Blocks {
    pub fn new(pool: MySqlPool, pairs: Pairs) -> Self {
        Self { pool, pairs }
    }

    /// Blocks, and ends in the same transaction what lay between the two. A repeat changes nothing.
    ///
    /// Returns what was ended.
    pub async fn block(&self, pair: Pair, by: UserId, other: UserId) -> Result<Option<Relation>> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin(pair).await?;
            let is_new = insert(change.connection(), by, other).await?;
            let ended = end_relation(&mut change, by, other).await?;
            if is_new {
                change.tell(&UserBlocked { user_id: by, blocked_user_id: other }).await?;
            }
            change.commit(ended).await
        })
        .await
    }

    pub async fn unblock(&self, pair: Pair, by: UserId, other: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin_on_existing(pair).await?;
            // The standing does not say who of the two blocked.
            if !change.standing.blocked || !delete(change.connection(), by, other).await? {
                return Err(refusal::not_blocked());
            }
            change.tell(&UserUnblocked { user_id: by, blocked_user_id: other }).await?;
            change.commit(()).await
        })
        .await
    }

    /// Whom a person blocked, the latest first.
    pub async fn of(&self, user: UserId) -> Result<Vec<Blocked>> {
        let blocked = sqlx::query_as(
            "SELECT blocked_user_id AS user_id, created_at AS blocked_at FROM block_users
             WHERE user_id = ? ORDER BY id DESC",
        );
        Ok(blocked.bind(user).fetch_all(&self.pool).await?)
    }

    /// All blocks after this id, in order of their ids, at most `limit`.
    pub async fn since(&self, id: i64, limit: i64) -> Result<Vec<Block>> {
        let blocks =
            sqlx::query_as("SELECT id, user_id, blocked_user_id FROM block_users WHERE id > ? ORDER BY id LIMIT ?");
        Ok(blocks.bind(id).bind(limit).fetch_all(&self.pool).await?)
    }
}

/// Whether the block was not there yet.
async fn insert(tx: &mut MySqlConnection, by: UserId, other: UserId) -> Result<bool> {
    let insert = sqlx::query(
        "INSERT IGNORE INTO block_users (user_id, blocked_user_id, created_at) VALUES (?, ?, UTC_TIMESTAMP(6))",
    );
    Ok(insert.bind(by).bind(other).execute(tx).await?.rows_affected() == 1)
}

/// Whether the block was there.
async fn delete(tx: &mut MySqlConnection, by: UserId, other: UserId) -> Result<bool> {
    let delete = sqlx::query("DELETE FROM block_users WHERE user_id = ? AND blocked_user_id = ?");
    Ok(delete.bind(by).bind(other).execute(tx).await?.rows_affected() == 1)
}

/// Ends a friendship or a request, and tells it in the words of who blocks: removed, taken back, or rejected.
async fn end_relation(change: &mut Change<'_>, by: UserId, other: UserId) -> Result<Option<Relation>> {
    let Some(relation) = change.standing.relation.clone() else { return Ok(None) };
    change.end(&relation).await?;
    let (requester_id, addressee_id) = (relation.requester, relation.addressee);
    let friendship_id = Some(relation.id);
    match relation.status {
        Status::Accepted => {
            change.tell(&FriendRemoved { friendship_id: relation.id, user_id: by, friend_id: other }).await?;
        }
        Status::Pending if requester_id == by => {
            change.tell(&FriendRequestCancelled { friendship_id, requester_id, addressee_id }).await?;
        }
        Status::Pending => {
            change.tell(&FriendRequestRejected { friendship_id, requester_id, addressee_id }).await?;
        }
    }
    Ok(Some(relation))
}
