//! The requests that a user has sent, counted under a lock.

use std::time::Duration;

use sqlx::MySqlConnection;

use common::id::UserId;
use engines::error::Result;

use crate::domain::{RequestLimits, SentRequests};

/// Locks the sender's row in `friend_senders` until the end of the transaction, and counts what the sender has sent.
///
/// The pair is locked before the sender, in every transaction, so that two transactions never wait for each other.
pub async fn lock_and_count(
    tx: &mut MySqlConnection,
    from: UserId,
    to: UserId,
    limits: RequestLimits,
) -> Result<SentRequests> {
    let lock = sqlx::query("INSERT INTO friend_senders (user_id) VALUES (?) ON DUPLICATE KEY UPDATE user_id = user_id");
    lock.bind(from).execute(&mut *tx).await?;
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
