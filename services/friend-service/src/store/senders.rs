//! The sent requests, the blocks and the friends of a user, counted under a lock.

use std::time::Duration;

use sqlx::MySqlConnection;

use common::id::UserId;
use engines::error::Result;

use crate::domain::{Pair, RequestLimits, SentRequests};

/// Locks a user's row in `friend_senders` until the end of the transaction.
///
/// The pair is locked before its users, in every transaction, and two users in the order of their ids, so that two
/// transactions never wait for each other.
async fn lock(tx: &mut MySqlConnection, user: UserId) -> Result<()> {
    let lock = sqlx::query("INSERT INTO friend_senders (user_id) VALUES (?) ON DUPLICATE KEY UPDATE user_id = user_id");
    lock.bind(user).execute(tx).await?;
    Ok(())
}

/// Locks the sender, and counts what the sender has sent.
pub async fn lock_and_count(
    tx: &mut MySqlConnection,
    from: UserId,
    to: UserId,
    limits: RequestLimits,
) -> Result<SentRequests> {
    lock(tx, from).await?;
    // The inner limit bounds the count. The index `friendships_ended` bounds the rest to the requests of one pair.
    let counts = sqlx::query_as(
        "SELECT CAST(pending.n AS UNSIGNED), CAST(ended.n AS UNSIGNED),
                CAST(GREATEST(COALESCE(ended.wait, 0), 0) AS UNSIGNED)
         FROM (SELECT COUNT(*) AS n FROM (
                   SELECT 1 FROM friendships
                   WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'pending' LIMIT ?) AS some) AS pending,
              (SELECT COUNT(*) AS n,
                      TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), MIN(deleted_at) + INTERVAL 1 DAY) AS wait
               FROM friendships
               WHERE user_id_1 = ? AND user_id_2 = ? AND status = 'pending'
                   AND deleted_at > UTC_TIMESTAMP(6) - INTERVAL 1 DAY) AS ended",
    );
    let counts = counts.bind(from).bind(limits.pending).bind(from).bind(to);
    let (pending, ended, wait_seconds): (u64, u64, u64) = counts.fetch_one(tx).await?;
    Ok(SentRequests { pending, ended, wait: Duration::from_secs(wait_seconds) })
}

/// Locks both users, and counts the friends of the one who has more. The count is exact below `limit`.
pub async fn lock_and_count_friends(tx: &mut MySqlConnection, pair: Pair, limit: u64) -> Result<u64> {
    lock(tx, pair.low).await?;
    lock(tx, pair.high).await?;
    Ok(friends(tx, pair.low, limit).await?.max(friends(tx, pair.high, limit).await?))
}

/// The number of friends of a locked user, exact below `limit`.
pub async fn friends(tx: &mut MySqlConnection, user: UserId, limit: u64) -> Result<u64> {
    let count = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS UNSIGNED) FROM (
             (SELECT 1 FROM friendships
              WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'accepted' LIMIT ?)
             UNION ALL
             (SELECT 1 FROM friendships
              WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'accepted' LIMIT ?)) AS some",
    );
    Ok(count.bind(user).bind(limit).bind(user).bind(limit).fetch_one(tx).await?)
}

/// Locks a user, and counts the others whom the user blocks, except `other`, up to `limit`.
pub async fn lock_and_count_blocked(tx: &mut MySqlConnection, by: UserId, other: UserId, limit: u64) -> Result<u64> {
    lock(tx, by).await?;
    let count = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS UNSIGNED) FROM (
             SELECT 1 FROM block_users WHERE user_id = ? AND blocked_user_id <> ? LIMIT ?) AS some",
    );
    Ok(count.bind(by).bind(other).bind(limit).fetch_one(tx).await?)
}
