//! Reads in batches: reads that arrive while others run share the next command.
//!
//! A quiet replica sends a command for each read. A busy one sends as many as [`MAX_RUNNING`] at a time, each for all reads that have
//! arrived meanwhile, so that the cost of a read falls with the load. A read starts after its request, as one of its own would:
//! nothing is remembered, and no reader gets less than was acknowledged before.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::error::Error;
use engines::error::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::flights::copy_of;

/// Limit on the commands that run at a time. While one reads, the other one starts, and a slow one does not stop all reads.
const MAX_RUNNING: usize = 2;

/// Time limit of a command: the server ends it after 2 s, but one that vanished without closing the connection answers nothing.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Limit on the waiting requests. Beyond it, a request is answered 503.
const MAX_WAITING: usize = 10_000;

/// Reads of values `T` by keys. Clones share the batches.
pub struct BatchReads<K, T> {
    shared: Arc<Shared<K, T>>,
}

struct Shared<K, T> {
    store: &'static str,
    max_keys: usize,
    load: Load<K, T>,
    queue: Mutex<Queue<K, T>>,
}

/// Reads the values of keys with one command.
type Load<K, T> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<T>> + Send + Sync>;

struct Queue<K, T> {
    waiting: VecDeque<Waiting<K, T>>,
    running: usize,
}

struct Waiting<K, T> {
    keys: Vec<K>,
    answer: oneshot::Sender<Result<Arc<T>, Arc<Error>>>,
}

impl<K, T> Clone for BatchReads<K, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K, T> BatchReads<K, T>
where
    K: Send + 'static,
    T: Send + Sync + 'static,
{
    /// `load` reads the values of keys, which may repeat, from `store`. Up to `max_keys` share a command, which keeps later requests
    /// waiting; a request with more has one of its own.
    pub fn new<F>(store: &'static str, max_keys: usize, load: impl Fn(Vec<K>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: 0 });
        let load: Load<K, T> = Box::new(move |keys| load(keys).boxed());
        Self { shared: Arc::new(Shared { store, max_keys, load, queue }) }
    }

    /// The values of a batch that contains these keys, from a command that starts after this call. It has those of other requests
    /// too, so a caller takes only its own out of it.
    ///
    /// # Errors
    /// Returns the error of the command, or 503 if too many requests wait.
    pub async fn read(&self, keys: Vec<K>) -> Result<Arc<T>> {
        let (answer, values) = oneshot::channel();
        if self.shared.enqueue(Waiting { keys, answer })? {
            tokio::spawn(run(self.shared.clone()));
        }
        let values = values.await.map_err(|_| Error::internal("a batch of reads ended without an answer"))?;
        Ok(values.map_err(|error| copy_of(&error))?)
    }
}

impl<K, T> Shared<K, T> {
    /// Appends a request. Returns whether a task is to be started for it.
    fn enqueue(&self, request: Waiting<K, T>) -> Result<bool> {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= MAX_WAITING {
            return Err(Error::unavailable(self.store, "too many reads wait").into());
        }
        queue.waiting.push_back(request);
        let starts = queue.running < MAX_RUNNING;
        queue.running += usize::from(starts);
        Ok(starts)
    }

    /// The requests of the next batch. None ends the task that asks.
    fn next(&self) -> Vec<Waiting<K, T>> {
        let mut queue = self.queue.lock();
        // The clients of the others have gone.
        queue.waiting.retain(|request| !request.answer.is_closed());
        let mut keys = 0;
        let fits = |request: &&Waiting<K, T>| {
            keys += request.keys.len();
            keys <= self.max_keys
        };
        let first = queue.waiting.len().min(1);
        let count = queue.waiting.iter().take_while(fits).count().max(first);
        let batch: Vec<Waiting<K, T>> = queue.waiting.drain(..count).collect();
        queue.running -= usize::from(batch.is_empty());
        batch
    }
}

/// Reads batches until no request waits.
async fn run<K, T>(shared: Arc<Shared<K, T>>) {
    loop {
        let batch = shared.next();
        if batch.is_empty() {
            return;
        }
        let (keys, answers): (Vec<Vec<K>>, Vec<_>) =
            batch.into_iter().map(|request| (request.keys, request.answer)).unzip();
        let load = async { (shared.load)(keys.into_iter().flatten().collect()).await };
        // After a panic the requests have no answer, and the task goes on.
        let Ok(read) = AssertUnwindSafe(tokio::time::timeout(TIMEOUT, load)).catch_unwind().await else { continue };
        let read = read.unwrap_or_else(|_| Err(Error::unavailable(shared.store, "a read took too long").into()));
        let read = read.map(Arc::new).map_err(|e| Arc::new(Error::from(e)));
        for answer in answers {
            // A caller that has gone needs none.
            let _ = answer.send(read.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const MAX_KEYS: usize = 10;

    /// Reads that return the keys of their batch, each after a permit.
    fn reads(go: &Arc<Semaphore>) -> BatchReads<u32, Vec<u32>> {
        let go = go.clone();
        BatchReads::new("test", MAX_KEYS, move |keys| {
            let go = go.clone();
            async move {
                go.acquire().await.unwrap().forget();
                if keys.contains(&0) { Err(Error::unavailable("test", "zero").into()) } else { Ok(keys) }
            }
        })
    }

    /// Starts a read. It waits, or its command runs, when this returns.
    async fn start(
        reads: &BatchReads<u32, Vec<u32>>,
        keys: Vec<u32>,
    ) -> std::pin::Pin<Box<impl Future<Output = Result<Arc<Vec<u32>>>> + use<>>> {
        let reads = reads.clone();
        let mut read = Box::pin(async move { reads.read(keys).await });
        assert!(read.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        read
    }

    #[tokio::test]
    async fn reads_that_arrive_while_others_run_share_a_later_command() {
        let go = Arc::new(Semaphore::new(0));
        let reads = reads(&go);
        let running = [start(&reads, vec![1]).await, start(&reads, vec![2]).await];
        let (three, four) = (start(&reads, vec![3]).await, start(&reads, vec![4, 5]).await);
        go.add_permits(3);

        let running = futures_util::future::join_all(running).await;
        assert_eq!(running.into_iter().map(|read| read.unwrap().to_vec()).collect::<Vec<_>>(), [[1], [2]]);
        let (three, four) = (three.await.unwrap(), four.await.unwrap());
        assert_eq!(*three, [3, 4, 5]);
        assert!(Arc::ptr_eq(&three, &four));
    }

    #[tokio::test]
    async fn a_request_with_many_keys_has_a_command_of_its_own() {
        let go = Arc::new(Semaphore::new(0));
        let reads = reads(&go);
        let _running = [start(&reads, vec![1]).await, start(&reads, vec![2]).await];
        let many = vec![7; MAX_KEYS + 1];
        let (before, large, after) =
            (start(&reads, vec![3]).await, start(&reads, many.clone()).await, start(&reads, vec![4]).await);
        go.add_permits(5);

        assert_eq!(
            (&*before.await.unwrap(), &*large.await.unwrap(), &*after.await.unwrap()),
            (&vec![3], &many, &vec![4])
        );
    }

    #[tokio::test]
    async fn a_failed_command_is_an_error_of_its_requests_alone() {
        let go = Arc::new(Semaphore::new(9));
        let reads = reads(&go);

        assert!(matches!(reads.read(vec![0]).await.unwrap_err().get_ref(), Error::Unavailable { .. }));
        assert_eq!(*reads.read(vec![1]).await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn a_request_that_has_gone_is_not_read() {
        let go = Arc::new(Semaphore::new(0));
        let reads = reads(&go);
        let _running = [start(&reads, vec![1]).await, start(&reads, vec![2]).await];
        drop(start(&reads, vec![0]).await);
        let kept = start(&reads, vec![3]).await;
        go.add_permits(3);

        assert_eq!(*kept.await.unwrap(), [3]);
    }

    #[tokio::test]
    async fn a_panic_ends_neither_the_task_nor_other_reads() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let reads: BatchReads<u32, Vec<u32>> = BatchReads::new("test", MAX_KEYS, move |keys| {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(run >= 2 * MAX_RUNNING, "a fault in the read");
                Ok(keys)
            }
        });
        for _ in 0..2 * MAX_RUNNING {
            assert!(reads.read(vec![1]).await.is_err());
        }

        assert_eq!(*reads.read(vec![2]).await.unwrap(), [2]);
    }
}
