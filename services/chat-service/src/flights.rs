//! Flights: callers that need the same work at the same time share one run of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use common::error::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use platform::task::run_detached;

/// The runs in progress, at most one for each key. Clones share them.
pub struct Flights<K, T> {
    running: Running<K, T>,
}

type Running<K, T> = Arc<Mutex<HashMap<K, Flight<T>>>>;

/// A run. Its error is shared by all callers.
type Flight<T> = Shared<BoxFuture<'static, Result<T, Arc<Error>>>>;

impl<K, T> Clone for Flights<K, T> {
    fn clone(&self) -> Self {
        Self { running: self.running.clone() }
    }
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K, T> Flights<K, T>
where
    K: Copy + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub fn is_running(&self, key: K) -> bool {
        self.running.lock().contains_key(&key)
    }

    /// Waits for the run of a key, which `work` starts if there is none. A run ends only by itself, whether or not its
    /// callers wait for it.
    ///
    /// # Errors
    /// Returns the error of the run.
    pub async fn run<E>(&self, key: K, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T>
    where
        Error: From<E>,
    {
        let flight = self.join(key, work.map(|done| done.map_err(Error::from)));
        flight.await.map_err(|error| copy_of(&error))
    }

    /// Waits for a run that starts after this call: a run in progress may have read an earlier state.
    ///
    /// # Errors
    /// Returns the error of the run.
    pub async fn run_anew<E>(&self, key: K, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T>
    where
        Error: From<E>,
    {
        let earlier = self.running.lock().get(&key).cloned();
        if let Some(earlier) = earlier {
            // Its own callers get its error.
            let _ = earlier.await;
        }
        self.run(key, work).await
    }

    fn join(&self, key: K, work: impl Future<Output = Result<T>> + Send + 'static) -> Flight<T> {
        let start = || {
            let running = self.running.clone();
            let work = run_detached(async move {
                let _end = End { running, key };
                work.await.map_err(Arc::new)
            });
            work.boxed().shared()
        };
        self.running.lock().entry(key).or_insert_with(start).clone()
    }
}

/// Removes a run at its end, also after a panic.
struct End<K: Copy + Eq + Hash, T> {
    running: Running<K, T>,
    key: K,
}

impl<K: Copy + Eq + Hash, T> Drop for End<K, T> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

/// An error that several callers share, for one of them. The cause becomes text.
pub fn copy_of(error: &Error) -> Error {
    match error {
        Error::Refused { status, code, message } => Error::refused(*status, code, message.clone()),
        Error::Unavailable { dependency, source } => Error::unavailable(dependency, source.to_string()),
        other => Error::internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    /// Work that counts its runs and waits for a permit.
    fn counted(runs: &Arc<AtomicU32>, go: &Arc<Semaphore>) -> impl Future<Output = Result<u32>> + Send + use<> {
        let (runs, go) = (runs.clone(), go.clone());
        async move {
            let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
            go.acquire().await.unwrap().forget();
            Ok(run)
        }
    }

    #[tokio::test]
    async fn simultaneous_callers_share_a_run_that_survives_the_first() {
        let (flights, runs, go) = (Flights::default(), Arc::default(), Arc::new(Semaphore::new(0)));
        let mut first = Box::pin(flights.run(1, counted(&runs, &go)));
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        let second = flights.run(1, counted(&runs, &go));
        go.add_permits(1);

        assert_eq!((second.await.unwrap(), flights.is_running(1)), (1, false));
    }

    #[tokio::test]
    async fn a_new_run_starts_after_the_call() {
        let (flights, runs, go) = (Flights::default(), Arc::default(), Arc::new(Semaphore::new(0)));
        let mut first = Box::pin(flights.run(1, counted(&runs, &go)));
        assert!(first.as_mut().now_or_never().is_none());
        go.add_permits(2);
        let (anew, first) = tokio::join!(flights.run_anew(1, counted(&runs, &go)), first);

        assert_eq!((first.unwrap(), anew.unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn all_callers_get_the_refusal() {
        let flights: Flights<i64, ()> = Flights::default();
        let refusal = || async { Err::<(), _>(Error::not_found("Chat room not found")) };
        let (one, two) = tokio::join!(flights.run(1, refusal()), flights.run(1, refusal()));

        assert_eq!([one, two].map(|refused| refused.unwrap_err().status().as_u16()), [404, 404]);
    }
}
