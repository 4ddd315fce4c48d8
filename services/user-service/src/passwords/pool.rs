//! Threads for password hashing, as many as cores, each with its own working memory.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use common::error::{Error, Result};
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::oneshot;

use super::hash::Memory;

/// The length of the queue for each thread. At 25 ms a hash, a job waits at most about 3 s.
const WAITING_PER_THREAD: usize = 128;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads end when the pool is dropped.
pub(super) struct Pool {
    jobs: SyncSender<Job>,
    waiting: IntGauge,
}

impl Pool {
    /// Starts the threads. The gauge `waiting` shows the length of the queue.
    pub(super) fn start(waiting: IntGauge) -> Result<Self> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let (jobs, queue) = sync_channel(threads * WAITING_PER_THREAD);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads {
            let queue = queue.clone();
            let thread = thread::Builder::new().name(format!("password-{n}"));
            thread.spawn(move || work(&queue)).map_err(Error::internal)?;
        }
        Ok(Self { jobs, waiting })
    }

    /// Runs a job as soon as a thread is free. A job whose caller is gone by then is skipped.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if the queue is full.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let waiting = self.waiting.clone();
        let job: Job = Box::new(move |memory| {
            waiting.dec();
            if !reply.is_closed() {
                let _ = reply.send(job(memory));
            }
        });
        // Incremented before the send, because a thread may take the job at once.
        self.waiting.inc();
        self.jobs.try_send(job).map_err(|e| {
            self.waiting.dec();
            match e {
                TrySendError::Full(_) => Error::unavailable("password hashing", "its queue is full"),
                TrySendError::Disconnected(_) => Error::unavailable("password hashing", "its threads have ended"),
            }
        })?;
        answer.await.map_err(Error::internal)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut memory = Memory::default();
    loop {
        let next = queue.lock().recv();
        let Ok(job) = next else { return };
        // A job that panics answers its caller with an internal error, and the thread goes on. The memory holds no state
        // between jobs.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Poll;

    #[tokio::test]
    async fn a_job_that_panics_is_answered_and_the_threads_go_on() {
        let pool = Pool::start(IntGauge::new("queued", "Jobs").unwrap()).unwrap();
        for _ in 0..2 * thread::available_parallelism().unwrap().get() {
            assert!(pool.run(|_| panic!("a fault in a job")).await.is_err());
        }
        assert_eq!(pool.run(|_| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_full_queue_rejects_jobs_at_once() {
        let queued = IntGauge::new("queued", "Jobs").unwrap();
        let pool = Pool::start(queued.clone()).unwrap();
        let threads = thread::available_parallelism().unwrap().get();
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let wait = |gate: Arc<Mutex<Receiver<()>>>| move |_: &mut Memory| gate.lock().recv().is_ok();
        let (mut waiting, mut refused) = (Vec::new(), 0);

        for _ in 0..threads * (WAITING_PER_THREAD + 2) {
            let mut job = Box::pin(pool.run(wait(gate.clone())));
            match futures_util::poll!(&mut job) {
                Poll::Ready(answer) => refused += usize::from(answer.is_err()),
                Poll::Pending => waiting.push(job),
            }
        }
        drop(open);
        futures_util::future::join_all(waiting).await;

        assert!((threads..=2 * threads).contains(&refused), "{refused}");
        assert_eq!(pool.run(|_| 7).await.unwrap(), 7);
        assert_eq!(queued.get(), 0);
    }
}
