//! Reads in batches: reads that arrive while others run share the next command.
//!
//! A quiet replica sends a command for each read. A busy one runs at most [`MAX_RUNNING`] at a time, each for all reads that have
//! arrived meanwhile, so that the cost of a read falls with the load. A read starts after its request, as one of its own would:
//! nothing is remembered, and no reader gets less than was acknowledged before.

use std::collections::{BTreeSet, VecDeque};
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

/// Limit on the commands of batches that run at a time. The second one starts the reads that arrived during the first.
const MAX_RUNNING: usize = 2;

/// Time limit of a request, its wait included. While the store is unavailable, requests do not wait behind each other for longer.
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
    answer: oneshot::Sender<Read<T>>,
}

/// The outcome of a command, which its requests share.
type Read<T> = Result<Arc<T>, Arc<Error>>;

impl<K, T> Clone for BatchReads<K, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K, T> BatchReads<K, T>
where
    K: Clone + Ord + Send + 'static,
    T: Send + Sync + 'static,
{
    /// `load` reads the values of distinct keys from `store`. Requests with up to `max_keys` together share a command; one with more
    /// has a command of its own beside them.
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
    /// Returns the error of the command, or 503 if too many requests wait or [`TIMEOUT`] has passed.
    pub async fn read(&self, keys: Vec<K>) -> Result<Arc<T>> {
        let (answer, read) = oneshot::channel();
        let request = Waiting { keys, answer };
        if request.keys.len() > self.shared.max_keys {
            tokio::spawn(run_alone(self.shared.clone(), request));
        } else if self.shared.enqueue(request)? {
            tokio::spawn(run(self.shared.clone()));
        }
        let Ok(read) = tokio::time::timeout(TIMEOUT, read).await else {
            return Err(self.shared.too_slow());
        };
        let read = read.map_err(|_| Error::internal("a batch of reads ended without an answer"))?;
        Ok(read.map_err(|error| copy_of(&error))?)
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

    fn too_slow(&self) -> engines::error::Error {
        Error::unavailable(self.store, "a read took too long").into()
    }

    /// The requests of the next batch. None ends the task that asks.
    fn next(&self) -> Vec<Waiting<K, T>> {
        let mut queue = self.queue.lock();
        let (mut batch, mut keys) = (Vec::new(), 0);
        let has_gone = |request: &Waiting<K, T>| request.answer.is_closed();
        while let Some(request) =
            queue.waiting.pop_front_if(|next| has_gone(next) || keys + next.keys.len() <= self.max_keys)
        {
            if !has_gone(&request) {
                keys += request.keys.len();
                batch.push(request);
            }
        }
        queue.running -= usize::from(batch.is_empty());
        batch
    }
}

impl<K: Clone + Ord, T> Shared<K, T> {
    /// Reads the values of keys; none after a panic.
    async fn load(&self, keys: Vec<K>) -> Option<Read<T>> {
        let distinct: BTreeSet<K> = keys.into_iter().collect();
        let load = async { (self.load)(distinct.into_iter().collect()).await };
        let read = AssertUnwindSafe(tokio::time::timeout(TIMEOUT, load)).catch_unwind().await.ok()?;
        let read = read.unwrap_or_else(|_| Err(self.too_slow()));
        Some(read.map(Arc::new).map_err(|e| Arc::new(Error::from(e))))
    }
}

/// Reads batches until no request waits.
async fn run<K: Clone + Ord + Send + 'static, T: Send + Sync + 'static>(shared: Arc<Shared<K, T>>) {
    loop {
        let batch = shared.next();
        if batch.is_empty() {
            return;
        }
        let keys = batch.iter().flat_map(|request| request.keys.iter().cloned()).collect();
        let read = shared.load(keys).await;
        let is_fault = |read: &Read<T>| read.as_ref().is_err_and(|e| matches!(**e, Error::Internal(_)));
        match read {
            // A caller that has gone needs no answer.
            Some(read) if batch.len() == 1 || !is_fault(&read) => {
                batch.into_iter().for_each(|request| drop(request.answer.send(read.clone())));
            }
            // A value that cannot be read is an error of its own requests only, which do not hold up the next batch.
            _ if batch.len() > 1 => {
                batch.into_iter().for_each(|request| drop(tokio::spawn(run_alone(shared.clone(), request))));
            }
            // The request has no answer.
            _ => {}
        }
    }
}

/// Reads the keys of one request.
async fn run_alone<K: Clone + Ord, T>(shared: Arc<Shared<K, T>>, Waiting { keys, answer }: Waiting<K, T>) {
    if let Some(read) = shared.load(keys).await {
        let _ = answer.send(read);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

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
                if keys.contains(&0) { Err(Error::internal("zero").into()) } else { Ok(keys) }
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
    async fn a_request_with_many_keys_neither_waits_nor_delays_others() {
        let go = Arc::new(Semaphore::new(0));
        let reads = reads(&go);
        let many: Vec<u32> = (1..=MAX_KEYS as u32 + 1).collect();
        let large = [start(&reads, many.clone()).await, start(&reads, many.clone()).await, start(&reads, many).await];
        let small = start(&reads, vec![3]).await;
        assert_eq!(reads.shared.queue.lock().running, 1, "the small one runs beside them");
        go.add_permits(4);

        assert_eq!(*small.await.unwrap(), [3]);
        for large in large {
            assert_eq!(large.await.unwrap().len(), MAX_KEYS + 1);
        }
    }

    #[tokio::test]
    async fn a_value_that_cannot_be_read_is_an_error_of_its_request_alone() {
        let go = Arc::new(Semaphore::new(0));
        let reads = reads(&go);
        let running = [start(&reads, vec![1]).await, start(&reads, vec![2]).await];
        let (bad, good) = (start(&reads, vec![0]).await, start(&reads, vec![3, 3]).await);
        go.add_permits(5);

        assert!(matches!(bad.await.unwrap_err().get_ref(), Error::Internal(_)));
        assert_eq!(*good.await.unwrap(), [3]);
        drop(running);
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_delays_no_request_for_longer_than_its_limit() {
        let reads: BatchReads<u32, Vec<u32>> = BatchReads::new("test", 1, |_| std::future::pending());
        let began = Instant::now();
        let failed = futures_util::future::join_all((1..=50).map(|key| reads.read(vec![key]))).await;

        let is_503 = |read: &Result<Arc<Vec<u32>>>| {
            read.as_ref().is_err_and(|e| matches!(e.get_ref(), Error::Unavailable { dependency: "test", .. }))
        };
        assert!(failed.iter().all(is_503));
        assert!(began.elapsed() < 3 * TIMEOUT);
        while reads.shared.queue.lock().running > 0 {
            assert!(began.elapsed() < 3 * TIMEOUT);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
