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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it_any_more() {
        let (go, told) = oneshot::channel();
        let (done, heard) = oneshot::channel();
        let mut work = Box::pin(finish(async move {
            told.await.unwrap();
            done.send("done").unwrap();
        }));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);

        go.send(()).unwrap();

        assert_eq!(heard.await, Ok("done"));
    }

    #[tokio::test]
    #[should_panic(expected = "a fault in the work")]
    async fn whoever_waits_hears_of_a_panic() {
        finish(async { panic!("a fault in the work") }).await
    }
}
