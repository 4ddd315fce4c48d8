//! Blocks in MySQL.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{MySqlConnection, MySqlPool};
use utoipa::ToSchema;

use common::events::friend::{
    FriendRemoved, FriendRequestCancelled, FriendRequestRejected, UserBlocked, UserUnblocked,
};
use common::id::UserId;
use engines::error::Result;
use engines::mysql::retry_on_deadlock;

use crate::domain::{Pair, Relation, RelationLimits, Status, refusal};
use crate::store::pairs::{PairTransaction, Pairs};
use crate::store::senders;

/// The table `block_users`.
#[derive(Clone)]
pub struct Blocks {
    pool: MySqlPool,
    pairs: Pairs,
    limits: RelationLimits,
}

/// A user whom another one blocked.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Blocked {
    /// The id of the block.
    pub id: i64,
    pub user_id: UserId,
    pub blocked_at: DateTime<Utc>,
}

/// A block in the list for other services.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Block {
    pub id: i64,
    pub user_id: UserId,
    pub blocked_user_id: UserId,
}

impl Blocks {
    pub fn new(pool: MySqlPool, pairs: Pairs, limits: RelationLimits) -> Self {
        Self { pool, pairs, limits }
    }

    /// Inserts a block and ends the relation of the pair in one transaction. Returns the relation. A repeat changes nothing.
    ///
    /// # Errors
    /// Refuses at the limit on the users whom one blocks.
    pub async fn block(&self, pair: Pair, by: UserId, other: UserId) -> Result<Option<Relation>> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin(pair).await?;
            let is_new = insert(tx.connection(), by, other).await?;
            if is_new {
                let blocked = senders::lock_and_count_blocked(tx.connection(), by, other, self.limits.blocked).await?;
                self.limits.allow_block(blocked)?;
            }
            let ended = end_relation(&mut tx, by, other).await?;
            if is_new {
                tx.append(&UserBlocked { user_id: by, blocked_user_id: other }).await?;
            }
            tx.commit(ended).await
        })
        .await
    }

    /// Removes a block.
    ///
    /// # Errors
    /// Refuses if there is none.
    pub async fn unblock(&self, pair: Pair, by: UserId, other: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin_on_existing(pair).await?;
            // The relationship does not show which of the two blocked the other.
            if !tx.relationship.blocked || !delete(tx.connection(), by, other).await? {
                return Err(refusal::not_blocked().into());
            }
            tx.append(&UserUnblocked { user_id: by, blocked_user_id: other }).await?;
            tx.commit(()).await
        })
        .await
    }

    /// The users whom a user blocked, latest first: those before the block `before`, at most `limit`.
    pub async fn of(&self, user: UserId, before: i64, limit: i64) -> Result<Vec<Blocked>> {
        let blocked = sqlx::query_as(
            "SELECT id, blocked_user_id AS user_id, created_at AS blocked_at FROM block_users
             WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
        );
        Ok(blocked.bind(user).bind(before).bind(limit).fetch_all(&self.pool).await?)
    }

    /// All blocks after an id, in the order of their ids, at most `limit`.
    pub async fn since(&self, id: i64, limit: i64) -> Result<Vec<Block>> {
        let blocks =
            sqlx::query_as("SELECT id, user_id, blocked_user_id FROM block_users WHERE id > ? ORDER BY id LIMIT ?");
        Ok(blocks.bind(id).bind(limit).fetch_all(&self.pool).await?)
    }
}

/// Inserts a block. Returns false if it exists.
async fn insert(tx: &mut MySqlConnection, by: UserId, other: UserId) -> Result<bool> {
    let insert = sqlx::query(
        "INSERT IGNORE INTO block_users (user_id, blocked_user_id, created_at) VALUES (?, ?, UTC_TIMESTAMP(6))",
    );
    Ok(insert.bind(by).bind(other).execute(tx).await?.rows_affected() == 1)
}

/// Deletes a block. Returns false if it does not exist.
async fn delete(tx: &mut MySqlConnection, by: UserId, other: UserId) -> Result<bool> {
    let delete = sqlx::query("DELETE FROM block_users WHERE user_id = ? AND blocked_user_id = ?");
    Ok(delete.bind(by).bind(other).execute(tx).await?.rows_affected() == 1)
}

/// Ends a friendship or a request. The event is that of the same act by the blocking user: removed, cancelled or rejected.
async fn end_relation(tx: &mut PairTransaction<'_>, by: UserId, other: UserId) -> Result<Option<Relation>> {
    let Some(relation) = tx.relationship.relation.clone() else { return Ok(None) };
    tx.end(&relation).await?;
    let (requester_id, addressee_id) = (relation.requester, relation.addressee);
    let friendship_id = Some(relation.id);
    match relation.status {
        Status::Accepted => {
            tx.append(&FriendRemoved { friendship_id: relation.id, user_id: by, friend_id: other }).await?;
        }
        Status::Pending if requester_id == by => {
            tx.append(&FriendRequestCancelled { friendship_id, requester_id, addressee_id }).await?;
        }
        Status::Pending => {
            tx.append(&FriendRequestRejected { friendship_id, requester_id, addressee_id }).await?;
        }
    }
    Ok(Some(relation))
}
