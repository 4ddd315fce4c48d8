//! Work that outlives whoever waits for it.

use tracing::Instrument;

/// Does something to its end, even if the future that waits for it is dropped, as a handler is whose client hangs up.
///
/// The drivers of the stores want that. sqlx forgets of a dropped `BEGIN` that it may leave a transaction open, and the
/// MongoDB driver leaves the place of a dropped operation in the queue for its connections: whatever happens to the pool
/// serves one place, so behind those that nobody waits for any more, others wait although connections are free.
pub async fn finish<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(_) => std::future::pending().await,
        },
    }
}
