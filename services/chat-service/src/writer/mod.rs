//! The writer of this replica: all changes of rooms' logs go through it, in batches.
//!
//! Requests queue up while a batch is written; up to 100 of them, of any rooms, form the next batch. A batch is one
//! transaction in MongoDB: it advances the heads of its rooms, which gives the positions, writes the messages, and appends the
//! entries to the logs. Two replicas that write to one room conflict at its head, and the server lets one of them commit first.
//! Therefore positions are in commit order and have no gaps.
//!
//! A failed batch is retried; only the requests not yet stored are written again. Ids are assigned when a request enters the
//! queue, so the [`Reconciler`] finds the requests that are stored after a try with an unknown outcome. A batch that the server
//! refuses or does not write in time, or that conflicts repeatedly, is halved until the request that causes it stands alone. A
//! request that the server refuses alone is answered. One that conflicts or takes too long alone is retried apart by a task of its
//! room, and the queue goes on; later requests of the room wait for that task, so that the requests of a room are written in the
//! order of the queue.
//!
//! The writer is one task that owns its state; it needs no lock. Requests and answers travel through channels. A request is
//! answered after the commit, and after the hub has the entry.

mod apart;
mod reconciler;
mod repeats;
mod request;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use engines::mongo::{self, describe};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mongodb::Database;
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use platform::shutdown::Shutdown;
use platform::telemetry::{Queries, Trace, trace};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::activity::RoomActivity;
use crate::live::Hub;
use crate::outbox::Relay;
use crate::store::{OutboxEntry, StoreClock};

use apart::Apart;
use reconciler::Reconciler;
use repeats::Repeats;
use request::WriteRequest;
pub use request::{Command, Written};
use transaction::{Outcome, Transactions};

/// Limit on the requests of one transaction.
const MAX_BATCH: usize = 100;

/// Capacity of the queue: ten batches, about a tenth of a second of work. Beyond it, a request is answered 503.
const QUEUE: usize = 10 * MAX_BATCH;

/// A request that is not stored after this time is answered 503. Its client repeats it with the same `client_message_id`.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bounds of the pause between two tries in milliseconds: the other writer of a contended room needs a moment.
const RETRY_MILLIS: std::ops::Range<u64> = 2..12;

/// A batch that conflicts with other writers is halved after this many tries. A conflict between two replicas rarely needs more.
const TRIES_TOGETHER: u32 = 3;

/// Time limit of a try, and of the look-up after it. The driver aborts the abandoned transaction, or the server after its lifetime.
const TRY: Duration = Duration::from_secs(2);

/// Time limit of a try of a part of a batch that was not written in time: a batch is halved seven times before its cause stands
/// alone, and for one cause all of that is over before [`DEADLINE`]. The five round trips of a transaction over a slow network
/// take less.
const TRY_OF_PART: Duration = Duration::from_secs(1);

/// Additional pause while the server is unavailable.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(200);

/// A handle on the writer.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<WriteRequest>,
    clock: StoreClock,
}

impl Writer {
    /// Starts the writer. A replica has one, because two of them conflict and are slower.
    pub fn start(
        mongo: &Database,
        relay: Relay,
        hub: Hub,
        activity: RoomActivity,
        queries: Queries,
        clock: StoreClock,
        shutdown: &Shutdown,
    ) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (transactions, reconciler) = (Transactions::new(mongo), Reconciler::new(mongo));
        let apart = Apart::default();
        let task = Arc::new(Task { transactions, reconciler, relay, hub, queries, activity, apart });
        shutdown.spawn(task.run(requests, shutdown.stopping_token()));
        Self { queue, clock }
    }

    /// Returns a function that gives the number of queued requests.
    pub fn queue_length(&self) -> impl Fn() -> i64 + use<> {
        let queue = self.queue.downgrade();
        move || queue.upgrade().map_or(0, |queue| (QUEUE - queue.capacity()) as i64)
    }

    /// Carries out a command and waits until it is committed.
    ///
    /// # Errors
    /// Returns the refusal of a rule, or 503 if the queue is full or the deadline has passed.
    pub async fn write(&self, by: UserId, command: Command) -> Result<Written> {
        self.write_traced(by, command, Trace::current()).await
    }

    /// Carries out a command for a request that another task answers.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_traced(&self, by: UserId, command: Command, trace: Trace) -> Result<Written> {
        let (answer, written) = oneshot::channel();
        let request = WriteRequest {
            command,
            by,
            event_id: self.clock.new_id(),
            at: self.clock.now(),
            trace,
            deadline: Instant::now() + DEADLINE,
            in_doubt: false,
            answer,
        };
        self.queue.try_send(request).map_err(|_| Error::unavailable("message writer", "the queue is full"))?;
        written.await.map_err(|_| Error::unavailable("message writer", "no answer"))?
    }
}

struct Task {
    transactions: Transactions,
    reconciler: Reconciler,
    relay: Relay,
    hub: Hub,
    queries: Queries,
    activity: RoomActivity,
    apart: Apart,
}

/// Where a batch comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Its requests are of many rooms. One that conflicts must not delay the others.
    Queue,
    /// Its requests are of one room, and conflict together.
    Apart,
}

/// A part of a batch, the number of its failed tries, and the time limit of the next one.
struct Part {
    requests: Vec<WriteRequest>,
    failures: u32,
    limit: Duration,
}

impl Task {
    async fn run(self: Arc<Self>, mut requests: mpsc::Receiver<WriteRequest>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                taken = requests.recv_many(&mut batch, MAX_BATCH) => if taken == 0 { return },
                () = stopping.cancelled() => return,
            }
            let batch = self.apart.divert(std::mem::take(&mut batch));
            self.write(batch, Lane::Queue).await;
        }
    }

    /// Writes a batch in as many tries and parts as it takes, and answers all its requests but those that are left apart.
    async fn write(self: &Arc<Self>, batch: Vec<WriteRequest>, lane: Lane) {
        let (requests, mut repeats) = Repeats::split_off(refuse_expired(batch, "the deadline has passed"));
        // The first part comes last, so that requests of a room stay in order.
        let mut parts = vec![Part { requests, failures: 0, limit: TRY }];
        while let Some(Part { requests, failures, limit }) = parts.pop() {
            let requests = refuse_expired(requests, "the deadline has passed");
            if requests.is_empty() {
                continue;
            }
            let (mut left, error) = self.try_once(requests, limit, &mut repeats).await;
            let failures = if error.is_some() { failures + 1 } else { 0 };
            let is_late = lane == Lane::Queue && error.as_ref().is_some_and(mongo::is_timeout);
            let is_conflict = |e: &mongodb::error::Error| {
                lane == Lane::Queue && failures >= TRIES_TOGETHER && !mongo::is_unavailable(e)
            };
            let halve = is_late || error.is_some_and(|e| is_refused(&e) || is_conflict(&e));
            let limit = if is_late { TRY_OF_PART } else { limit };
            match left.len() {
                1 if halve => self.leave_apart(left, &mut parts, &mut repeats),
                2.. if halve => {
                    let second = left.split_off(left.len() / 2);
                    parts.extend([second, left].map(|requests| Part { requests, failures: 0, limit }));
                }
                _ => parts.push(Part { requests: left, failures, limit }),
            }
        }
    }

    /// Leaves a request that conflicts or takes too long alone, and the later ones of its room, to a task of the room.
    fn leave_apart(self: &Arc<Self>, alone: Vec<WriteRequest>, parts: &mut [Part], repeats: &mut Repeats) {
        if self.apart.is_full() {
            return alone.into_iter().for_each(apart::refuse);
        }
        let Some(room) = alone.first().map(WriteRequest::room) else { return };
        let of_room = move |request: &mut WriteRequest| request.room() == room;
        let later = parts.iter_mut().rev().flat_map(|part| part.requests.extract_if(.., of_room).collect::<Vec<_>>());
        let waiting = alone.into_iter().chain(later).flat_map(|request| {
            let repeated = repeats.of(&request);
            std::iter::once(request).chain(repeated)
        });
        tracing::info!(%room, "the changes of a room are written apart");
        self.apart.begin(room, waiting.collect());
        tokio::spawn(self.clone().write_apart(room));
    }

    /// Writes the requests of a room until none waits. Boxed, because [`write`](Self::write) starts it.
    fn write_apart(self: Arc<Self>, room: RoomId) -> BoxFuture<'static, ()> {
        async move {
            while let Some(batch) = self.apart.next(room, MAX_BATCH) {
                self.write(batch, Lane::Apart).await;
            }
        }
        .boxed()
    }

    /// Tries to write requests once. Returns those that are not answered, and the error of the try, after a pause.
    async fn try_once(
        &self,
        mut requests: Vec<WriteRequest>,
        limit: Duration,
        repeats: &mut Repeats,
    ) -> (Vec<WriteRequest>, Option<mongodb::error::Error>) {
        let e = match self.attempt(&requests, limit).await {
            Ok(outcomes) => return (self.finish(requests, outcomes, repeats).await, None),
            Err(e) => e,
        };
        tracing::debug!(error = describe(&e), requests = requests.len(), "batch failed");
        tokio::time::sleep(pause_after(&e)).await;
        if is_aborted(&e) {
            return (refuse_expired(requests, describe(&e)), Some(e));
        }
        requests.iter_mut().for_each(|request| request.in_doubt = true);
        let looked_up = self.reconcile(requests, repeats).await;
        let is_known = looked_up.is_ok();
        let (Ok(left) | Err(left)) = looked_up;
        match <[WriteRequest; 1]>::try_from(left) {
            Ok([request]) if is_known && is_refused(&e) => {
                tracing::warn!(error = describe(&e), room = %request.room(), "the store refuses a request");
                request.respond(Err(engines::error::Error::from(e).into()));
                (Vec::new(), None)
            }
            Ok(one) => (one.into(), Some(e)),
            Err(left) => (left, Some(e)),
        }
    }

    /// Tries to write a batch once, in the traces of all its requests.
    async fn attempt(&self, batch: &[WriteRequest], limit: Duration) -> mongodb::error::Result<Vec<Result<Outcome>>> {
        let _spans: Vec<Span> = batch.iter().map(|request| span(&request.trace)).collect();
        let started = Instant::now();
        let outcomes = self.transactions.attempt(batch, limit).await;
        self.queries.took("transaction", started.elapsed());
        outcomes
    }

    /// Publishes a committed batch and answers its requests. Returns the requests whose refusal is in doubt.
    async fn finish(
        &self,
        batch: Vec<WriteRequest>,
        outcomes: Vec<Result<Outcome>>,
        repeats: &mut Repeats,
    ) -> Vec<WriteRequest> {
        let mut doubtful = Vec::new();
        let mut events = Vec::new();
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Unchanged(message)) => {
                    // An earlier try of the request may have been committed after all.
                    let position = message.seq.filter(|_| request.sends(message.id));
                    if let Some(position) = position {
                        self.hub.hint(request.room(), position);
                    }
                    repeats.answer(&message);
                    request.respond(Ok(Written { message: *message, position }));
                }
                Ok(Outcome::Committed(committed)) => {
                    let (mut entry, message) = *committed;
                    self.hub.offer(&entry, &message);
                    if request.is_send() {
                        self.activity.report(request.room(), request.at);
                    }
                    repeats.answer(&message);
                    request.respond(Ok(Written { message, position: Some(entry.id.position) }));
                    events.extend(entry.event.take().map(|event| OutboxEntry { id: entry.id.to_bson(), event }));
                }
                // An earlier try may be stored and be the reason of the refusal.
                Err(_) if request.in_doubt => doubtful.push(request),
                Err(refusal) => request.respond(Err(refusal)),
            }
        }
        self.relay.publish(events);
        if doubtful.is_empty() {
            return doubtful;
        }
        match self.reconcile(doubtful, repeats).await {
            Ok(mut left) => {
                left.iter_mut().for_each(|request| request.in_doubt = false);
                left
            }
            Err(left) => {
                tokio::time::sleep(UNAVAILABLE_PAUSE).await;
                left
            }
        }
    }

    /// Answers the requests that are stored, and those whose deadline has passed. Returns the others, as an error if they could not
    /// be looked up.
    async fn reconcile(
        &self,
        batch: Vec<WriteRequest>,
        repeats: &mut Repeats,
    ) -> Result<Vec<WriteRequest>, Vec<WriteRequest>> {
        let looked_up = tokio::time::timeout(TRY, self.reconciler.look_up(&batch)).await;
        let stored = match looked_up.unwrap_or_else(|_| Err(Error::unavailable("mongodb", "the look-up took too long")))
        {
            Ok(stored) => stored,
            Err(e) => {
                tracing::warn!(error = %e, "cannot look up the requests of a batch");
                return Err(refuse_expired(batch, &e));
            }
        };
        let mut left = Vec::new();
        for (request, written) in batch.into_iter().zip(stored) {
            let Some(written) = written else {
                left.push(request);
                continue;
            };
            if let Some(position) = written.position {
                self.hub.hint(request.room(), position);
            }
            repeats.answer(&written.message);
            request.respond(Ok(written));
        }
        Ok(refuse_expired(left, "the message store did not commit in time"))
    }
}

fn span(trace: &Trace) -> Span {
    let span = tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "commit",
        otel.name = "commit to the room's log",
        otel.kind = "client",
        db.system.name = "mongodb",
    );
    trace::follow(span, trace.traceparent.as_deref())
}

/// Answers 503 to requests whose deadline has passed. Returns the others.
fn refuse_expired(batch: Vec<WriteRequest>, reason: impl ToString) -> Vec<WriteRequest> {
    let now = Instant::now();
    let (left, expired): (Vec<_>, Vec<_>) = batch.into_iter().partition(|request| request.deadline > now);
    for request in expired {
        request.respond(Err(Error::unavailable("mongodb", reason.to_string())));
    }
    left
}

/// A conflict at a head is over in milliseconds. A server that is unavailable takes longer to return; after a try that took too
/// long, the time has passed already.
fn pause_after(e: &mongodb::error::Error) -> Duration {
    let jitter = Duration::from_millis(rand::random_range(RETRY_MILLIS));
    if mongo::is_unavailable(e) && !mongo::is_timeout(e) { UNAVAILABLE_PAUSE + jitter } else { jitter }
}

/// Whether the server refuses the batch, and will refuse it again. A duplicate key is the repeat of a send that was stored
/// at the same moment.
fn is_refused(e: &mongodb::error::Error) -> bool {
    !mongo::passes(e) && !mongo::is_duplicate(e)
}

/// Whether the server guarantees that nothing of the transaction is stored, so that no look-up is needed.
fn is_aborted(e: &mongodb::error::Error) -> bool {
    e.contains_label(TRANSIENT_TRANSACTION_ERROR) && !e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}
