//! Transactions.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use platform::task::run_detached;
use sqlx::{MySqlPool, MySqlTransaction};

use crate::error::Result;
use crate::mysql::error::lost_lock;

/// Begins a transaction, in place of [`MySqlPool::begin`].
///
/// The caller may be dropped while it waits. sqlx counts a transaction only after the server has answered, so it rolls
/// nothing back if it is dropped before: the connection would return to the pool with an open transaction, and the next
/// user's writes would be acknowledged and not committed.
///
/// # Errors
/// Returns an error if no connection is available or the server does not answer.
pub async fn begin(pool: &MySqlPool) -> Result<MySqlTransaction<'static>> {
    let pool = pool.clone();
    #[allow(clippy::disallowed_methods, reason = "the one place where it is safe")]
    let begun = run_detached(async move { pool.begin().await }).await;
    Ok(begun?)
}

/// Repeats a whole transaction that InnoDB rolled back because of a deadlock or a lock wait timeout, at most 4 times.
///
/// # Errors
/// Returns the last error if all attempts fail, and every other error at once.
pub async fn retry_on_deadlock<T, F: Future<Output = Result<T>>>(transaction: impl FnMut() -> F) -> Result<T> {
    const RETRIES: usize = 4;
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    let backoff = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(RETRIES).with_jitter();
    transaction.retry(backoff).when(lost_lock).await
}
