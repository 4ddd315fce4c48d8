//! Tasks that run detached from their caller or repeat until the shutdown.

use std::fmt::Display;
use std::ops::RangeInclusive;
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
    poll(pause..=pause, name, stopping, state, step).await;
}

/// What a step of a task has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There may be more of it soon.
    Work,
    /// The next pause is longer.
    Nothing,
}

/// A step that does not say what it has found.
impl From<()> for Found {
    fn from((): ()) -> Self {
        Self::Work
    }
}

/// Like [`every`], with the shortest of the pauses after work and after a failure. While the step finds nothing, the
/// pause doubles, up to the longest.
pub async fn poll<T, F: Into<Found>, E: Display>(
    pauses: RangeInclusive<Duration>,
    name: &'static str,
    stopping: &CancellationToken,
    state: &mut T,
    step: impl AsyncFn(&mut T) -> Result<F, E>,
) {
    let (mut failing, mut pause) = (false, *pauses.start());
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let done = step(state).await.map(F::into);
        pause = next_pause(pause, &pauses, done.as_ref().ok());
        match done {
            Ok(_) if failing => {
                failing = false;
                tracing::info!(task = name, "task recovered");
            }
            Ok(_) => {}
            Err(e) if failing => tracing::debug!(task = name, error = %e, "task fails again"),
            Err(e) => {
                failing = true;
                tracing::warn!(task = name, error = %e, "task failed, it is retried");
            }
        }
    }
}

/// The pause after a step. `found` is `None` for a failed one.
fn next_pause(pause: Duration, pauses: &RangeInclusive<Duration>, found: Option<&Found>) -> Duration {
    match found {
        Some(Found::Nothing) => (2 * pause).min(*pauses.end()),
        Some(Found::Work) | None => *pauses.start(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    #[test]
    fn the_pause_grows_while_a_step_finds_nothing() {
        let pauses = Duration::from_secs(1)..=Duration::from_secs(5);
        let nothing = Some(Found::Nothing);
        let steps = [nothing, nothing, nothing, nothing, Some(Found::Work), nothing, None, nothing];
        let grown = steps.iter().scan(*pauses.start(), |pause, found| {
            *pause = next_pause(*pause, &pauses, found.as_ref());
            Some(pause.as_secs())
        });
        assert_eq!(grown.collect::<Vec<_>>(), [2, 4, 5, 5, 1, 2, 1, 2]);
    }

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
