//! The open loop: acts start at a fixed rate, whether the system keeps up or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{DRAIN, Schedule, as_client};

/// The longest sleep of the pacer, after which it looks for a stop.
const PACER_SLEEP: Duration = Duration::from_millis(50);

/// The time for which acts that are late may start after the end of the schedule.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Runs the acts of a schedule, at most `clients` at the same time, or until `stop`. `perform` gets the number and the intended
/// start of an act. Returns the number of acts that could not start or end in time because all clients were busy; a stop drops
/// those that run, and counts none.
pub async fn open<F, Fut>(schedule: Schedule, clients: u32, stop: &CancellationToken, perform: F) -> u64
where
    F: Fn(u64, Instant) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let (due, next, ended) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let late = schedule.at(schedule.count()) + CATCH_UP;
    let mut tasks = JoinSet::new();
    for client in 0..clients as usize {
        let (perform, due, next, ended) = (perform.clone(), due.clone(), next.clone(), ended.clone());
        tasks.spawn(as_client(client, async move {
            // Closed after the last act.
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= schedule.count() || Instant::now() > late {
                    due.close();
                    return;
                }
                perform(index, schedule.at(index)).await;
                ended.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let pacer = Pacer { schedule, stop: stop.clone(), due: due.clone() };
    // A thread, because it wakes within 0.1 ms of the intended time; a timer of the runtime has a resolution of 1 ms.
    thread::spawn(move || pacer.run());
    let all = async { while tasks.join_next().await.is_some() {} };
    let end = tokio::time::Instant::from_std(late + DRAIN);
    tokio::select! {
        _ = timeout(end.saturating_duration_since(tokio::time::Instant::now()), all) => {}
        () = stop.cancelled() => return 0,
    }
    schedule.count().saturating_sub(ended.load(Ordering::Relaxed))
}

/// Permits one act after another at its intended start.
struct Pacer {
    schedule: Schedule,
    stop: CancellationToken,
    due: Arc<Semaphore>,
}

impl Pacer {
    fn run(self) {
        let mut permitted = 0;
        while !self.stop.is_cancelled() && permitted < self.schedule.count() {
            let now = Instant::now();
            let due = self.schedule.due(now);
            self.due.add_permits((due - permitted) as usize);
            permitted = due;
            thread::sleep(self.schedule.at(permitted).saturating_duration_since(now).min(PACER_SLEEP));
        }
        // One more, with which a client sees that no act is left.
        self.due.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::time::sleep;

    use super::*;

    const RATE: f64 = 200.0;

    fn schedule(millis: u64) -> Schedule {
        Schedule::new(Instant::now(), RATE, Duration::from_millis(millis))
    }

    #[tokio::test]
    async fn every_act_of_the_schedule_runs_once_and_not_early() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = seen.clone();
        let unfinished = open(schedule(500), 8, &CancellationToken::new(), move |index, intended| {
            assert!(Instant::now() >= intended, "act {index} is early");
            seeing.lock().push(index);
            async { true }
        })
        .await;
        assert_eq!(unfinished, 0);
        let mut indices = seen.lock().clone();
        indices.sort_unstable();
        assert_eq!(indices, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_slow_act_makes_those_that_wait_for_it_late() {
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let recorded = latencies.clone();
        let unfinished = open(schedule(300), 1, &CancellationToken::new(), move |index, intended| {
            let recorded = recorded.clone();
            async move {
                if index == 0 {
                    sleep(Duration::from_millis(250)).await;
                }
                recorded.lock().push(intended.elapsed());
                true
            }
        })
        .await;
        assert_eq!(unfinished, 0);
        // Each of the 49 acts that were due meanwhile waited, not the slow one alone.
        let late = latencies.lock().iter().filter(|latency| **latency > Duration::from_millis(100)).count();
        assert!(late >= 30, "{late} acts are late");
    }

    #[tokio::test]
    async fn a_stop_drops_acts_that_would_never_end() {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(100)).await;
            stopping.cancel();
        });
        let unfinished = open(schedule(60_000), 2, &stop, |_, _| std::future::pending()).await;
        assert_eq!(unfinished, 0);
    }
}
