//! The closed loop: each client starts its next act when the last one has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{DRAIN, as_client};

/// The pause of a client after a failure. Without it, a system that refuses at once would be asked without end.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Runs acts of `clients` clients for a time, or until `stop`. `perform` gets the number and the start of an act, and returns
/// whether it succeeded. Returns the number of acts that did not end in time; a stop drops those that run, and counts none.
pub async fn closed<F, Fut>(clients: u32, duration: Duration, stop: &CancellationToken, perform: F) -> u64
where
    F: Fn(u64, std::time::Instant) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let until = Instant::now() + duration;
    let (started, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for client in 0..clients as usize {
        let (perform, stop, started, ended) = (perform.clone(), stop.clone(), started.clone(), ended.clone());
        tasks.spawn(as_client(client, async move {
            while Instant::now() < until && !stop.is_cancelled() {
                let index = started.fetch_add(1, Ordering::Relaxed);
                let succeeded = perform(index, std::time::Instant::now()).await;
                ended.fetch_add(1, Ordering::Relaxed);
                if !succeeded {
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }));
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(duration + DRAIN, all) => {}
        () = stop.cancelled() => return 0,
    }
    started.load(Ordering::Relaxed) - ended.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_starts_its_next_act_after_the_last_one() {
        let (acts, running) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, at_once) = (acts.clone(), running.clone());
        let unfinished = closed(3, Duration::from_millis(300), &CancellationToken::new(), move |_, _| {
            let (acts, running) = (counted.clone(), at_once.clone());
            async move {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                sleep(Duration::from_millis(20)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                acts.fetch_add(1, Ordering::Relaxed);
                true
            }
        })
        .await;
        assert_eq!(unfinished, 0);
        let acts = acts.load(Ordering::Relaxed);
        assert!((6..=48).contains(&acts), "{acts} acts");
    }

    #[tokio::test]
    async fn a_client_waits_after_a_failure() {
        let acts = Arc::new(AtomicU64::new(0));
        let counted = acts.clone();
        let fail = move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { false }
        };
        closed(1, Duration::from_millis(350), &CancellationToken::new(), fail).await;
        let acts = acts.load(Ordering::Relaxed);
        assert!((1..=4).contains(&acts), "{acts} acts");
    }

    #[tokio::test]
    async fn a_stop_drops_acts_that_would_never_end() {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(50)).await;
            stopping.cancel();
        });
        let unfinished = closed(2, Duration::from_secs(3600), &stop, |_, _| std::future::pending()).await;
        assert_eq!(unfinished, 0);
    }
}
