//! Duplicate friendships of the original that the migration merged. Each is logged once.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use sqlx::MySqlPool;
use tokio_util::sync::CancellationToken;

use common::id::UserId;
use engines::error::Result;

/// Pause between two tries while the migration has not run.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(sqlx::FromRow)]
struct Merged {
    friendship_id: i64,
    kept_id: i64,
    low: UserId,
    high: UserId,
}

/// Waits for the migration, then logs the friendships that it merged.
pub async fn log_merged(pool: MySqlPool, stopping: CancellationToken) {
    let until_migrated = ConstantBuilder::default().with_delay(RETRY_PAUSE).without_max_times();
    tokio::select! {
        _ = (|| log_all(&pool)).retry(until_migrated) => {}
        () = stopping.cancelled() => {}
    }
}

async fn log_all(pool: &MySqlPool) -> Result<()> {
    let merged: Vec<Merged> =
        sqlx::query_as("SELECT friendship_id, kept_id, low, high FROM friend_merged WHERE logged_at IS NULL")
            .fetch_all(pool)
            .await?;
    for Merged { friendship_id, kept_id, low, high } in merged {
        tracing::warn!(friendship_id, kept_id, user_id_1 = low.0, user_id_2 = high.0, "duplicate friendship merged");
        let logged = sqlx::query("UPDATE friend_merged SET logged_at = UTC_TIMESTAMP(6) WHERE friendship_id = ?");
        logged.bind(friendship_id).execute(pool).await?;
    }
    Ok(())
}
