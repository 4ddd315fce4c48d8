//! The writer of this replica: all changes of rooms' logs go through it, in batches.
//!
//! Requests queue up while a batch is written; up to 100 of them, of any rooms, form the next batch. A batch is one
//! transaction in MongoDB: it advances the heads of its rooms, which gives the positions, writes the messages, and appends the
//! entries to the logs. Two replicas that write to one room conflict at its head, and the server lets one of them commit first.
//! Therefore positions are in commit order and have no gaps.
//!
//! A failed batch is retried; only the requests not yet stored are written again. Ids are assigned when a request enters the
//! queue, so the [`Reconciler`] finds the requests that are stored after a try with an unknown outcome.
//!
//! The writer is one task that owns its state; it needs no lock. Requests and answers travel through channels. A request is
//! answered after the commit, and after the hub has the entry.

mod reconciler;
mod repeats;
mod request;
mod transaction;

use std::time::Duration;

use common::error::{Error, Result};
use common::id::UserId;
use engines::mongo::describe;
use mongodb::Database;
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use platform::shutdown::Shutdown;
use platform::telemetry::{Queries, Trace, trace};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use crate::activity::RoomActivity;
use crate::domain::time;
use crate::live::Hub;
use crate::outbox::Relay;
use crate::store::OutboxEntry;

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

/// Additional pause while the server is unavailable.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(200);

/// A handle on the writer.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<WriteRequest>,
}

impl Writer {
    /// Starts the writer. A replica has one, because two of them conflict and are slower.
    pub fn start(
        mongo: &Database,
        relay: Relay,
        hub: Hub,
        activity: RoomActivity,
        queries: Queries,
        shutdown: &Shutdown,
    ) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (transactions, reconciler) = (Transactions::new(mongo), Reconciler::new(mongo));
        let task = Task { transactions, reconciler, relay, hub, queries, activity };
        shutdown.spawn(task.run(requests, shutdown.stopping_token()));
        Self { queue }
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
        let (answer, written) = oneshot::channel();
        let request = WriteRequest {
            command,
            by,
            event_id: Uuid::now_v7(),
            at: time::now(),
            trace: Trace::current(),
            deadline: Instant::now() + DEADLINE,
            in_doubt: false,
            answer,
        };
        self.queue.try_send(request).map_err(|_| Error::unavailable("message writer", "the queue is full"))?;
        written.await.map_err(|_| Error::unavailable("message writer", "the writer has stopped"))?
    }
}

struct Task {
    transactions: Transactions,
    reconciler: Reconciler,
    relay: Relay,
    hub: Hub,
    queries: Queries,
    activity: RoomActivity,
}

impl Task {
    async fn run(self, mut requests: mpsc::Receiver<WriteRequest>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                taken = requests.recv_many(&mut batch, MAX_BATCH) => if taken == 0 { return },
                () = stopping.cancelled() => return,
            }
            self.write(std::mem::take(&mut batch)).await;
        }
    }

    /// Writes a batch in as many tries as it takes, and answers all its requests.
    async fn write(&self, batch: Vec<WriteRequest>) {
        let (mut left, mut repeats) = Repeats::split_off(batch);
        while !left.is_empty() {
            match self.attempt(&left).await {
                Ok(outcomes) => left = self.finish(left, outcomes, &mut repeats).await,
                Err(e) => {
                    tracing::debug!(error = describe(&e), requests = left.len(), "batch failed, retrying");
                    tokio::time::sleep(pause_after(&e)).await;
                    if is_aborted(&e) {
                        left = refuse_expired(left, describe(&e));
                        continue;
                    }
                    left.iter_mut().for_each(|request| request.in_doubt = true);
                    left = self.reconcile(left, &mut repeats).await;
                }
            }
        }
    }

    /// Tries to write a batch once, in the traces of all its requests.
    async fn attempt(&self, batch: &[WriteRequest]) -> mongodb::error::Result<Vec<Result<Outcome>>> {
        let _spans: Vec<Span> = batch.iter().map(|request| span(&request.trace)).collect();
        let started = Instant::now();
        let outcomes = self.transactions.attempt(batch).await;
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
                Ok(Outcome::Unchanged(message)) => request.respond(Ok(Written { message: *message, position: None })),
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
        let mut left = self.reconcile(doubtful, repeats).await;
        left.iter_mut().for_each(|request| request.in_doubt = false);
        left
    }

    /// Answers the requests that are stored, and those whose deadline has passed. Returns the others.
    async fn reconcile(&self, batch: Vec<WriteRequest>, repeats: &mut Repeats) -> Vec<WriteRequest> {
        let stored = match self.reconciler.look_up(&batch).await {
            Ok(stored) => stored,
            Err(e) => {
                tracing::warn!(error = %e, "cannot look up the requests of a batch");
                return refuse_expired(batch, &e);
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
        refuse_expired(left, "the message store did not commit in time")
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

/// A conflict at a head is over in milliseconds. A server that is unavailable takes longer to return.
fn pause_after(e: &mongodb::error::Error) -> Duration {
    use mongodb::error::ErrorKind::{ConnectionPoolCleared, Io, ServerSelection};
    let jitter = Duration::from_millis(rand::random_range(RETRY_MILLIS));
    if matches!(&*e.kind, Io(_) | ServerSelection { .. } | ConnectionPoolCleared { .. }) {
        UNAVAILABLE_PAUSE + jitter
    } else {
        jitter
    }
}

/// Whether the server guarantees that nothing of the transaction is stored, so that no look-up is needed.
fn is_aborted(e: &mongodb::error::Error) -> bool {
    e.contains_label(TRANSIENT_TRANSACTION_ERROR) && !e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}
