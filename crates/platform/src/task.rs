//! Tasks that run detached from their caller or repeat until the shutdown.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Runs a future to its end, even if the caller is dropped, as a handler is when its client disconnects.
///
/// Database drivers need this: after a dropped `BEGIN`, sqlx does not know that a transaction may be open. The MongoDB
/// driver leaves the entry of a dropped operation in the queue for its connections and serves one entry per event in
/// the pool, so live operations wait behind dead entries although connections are free.
///
/// # Panics
/// Resumes the panic of the future.
pub async fn run_detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Repeats a step until the shutdown, with a pause before each. Logs the first failure and the recovery, not each
/// failure.
pub async fn every<T, E: Display>(
    pause: Duration,
    name: &'static str,
    stopping: &CancellationToken,
    state: &mut T,
    step: impl AsyncFn(&mut T) -> Result<(), E>,
) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match step(state).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!(task = name, "task recovered");
            }
            Ok(()) => {}
            Err(e) if failing => tracing::debug!(task = name, error = %e, "task fails again"),
            Err(e) => {
                failing = true;
                tracing::warn!(task = name, error = %e, "task failed, it is retried");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_detached_future_completes_after_its_caller_was_dropped() {
        let (go, may_go) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut work = Box::pin(run_detached(async move {
            may_go.await.unwrap();
            done.send("done").unwrap();
        }));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);

        go.send(()).unwrap();

        assert_eq!(is_done.await, Ok("done"));
    }

    #[tokio::test]
    #[should_panic(expected = "a fault in the work")]
    async fn a_panic_reaches_the_caller() {
        run_detached(async { panic!("a fault in the work") }).await
    }
}
