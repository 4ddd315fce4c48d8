//! The server's settings for commits.

use sqlx::MySqlConnection;

use crate::error::Result;

/// Whether a commit is on disk before anybody sees it.
///
/// InnoDB shows a commit to other transactions before its log is on disk, unless the binary log is written first. In this moment an
/// event can be read and published whose change a crash takes back.
///
/// # Errors
/// Returns an unavailable error if the server does not answer.
pub async fn shows_durable_commits_only(connection: &mut MySqlConnection) -> Result<bool> {
    let settings = "SELECT CAST(@@GLOBAL.log_bin AS SIGNED), CAST(@@GLOBAL.sync_binlog AS SIGNED),
                           CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED)";
    let (binary_log, synced, flushed): (i64, i64, i64) = sqlx::query_as(settings).fetch_one(connection).await?;
    // MariaDB's 3 is as safe as 1.
    Ok(binary_log == 1 && synced == 1 && [1, 3].contains(&flushed))
}
