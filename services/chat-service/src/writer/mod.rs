//! The replica's writer: everything that happens in rooms goes through it, a batch at a time.
//!
//! Orders queue up while a batch is written, and all of them, of whatever rooms, become the next one: a transaction in
//! MongoDB that takes positions from the heads, writes the messages and appends to the logs. Two replicas that write
//! into one room take turns at its head, so positions are in commit order and have no holes.
//!
//! What fails is tried again, and only what is not in: ids are made once, when an order enters the queue, so the
//! [`ledger`](Ledger) can tell.

mod ledger;
mod transaction;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::kafka::producer::Trace;
use common::shutdown::Shutdown;
use common::telemetry::{Queries, trace};
use mongodb::bson::oid::ObjectId;
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::{Database, bson};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use crate::domain::{Change, Message, MessageType};
use crate::events::Relay;
use crate::live::Hub;
use crate::store::{Rooms, time};

use ledger::Ledger;
pub use transaction::Committed;
use transaction::{Outcome, Transactions};

/// As many orders make one transaction at most.
const BATCH: usize = 100;

/// Orders that may wait: ten batches, about a tenth of a second of work. Beyond it a sender is told to come back.
const QUEUE: usize = 10 * BATCH;

/// A write that is not in by then is answered 503; whoever sent it with a `client_message_id` sends it again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries, at least and at most: the other writer of a contended room needs a moment.
const RETRY_MILLIS: std::ops::Range<u64> = 2..12;

/// While the engine is away it is not asked more often than this.
const AWAY: Duration = Duration::from_millis(200);

/// What is to happen.
#[derive(Clone, Debug)]
pub enum Act {
    /// A new message; its `seq` is not known yet.
    Send(Box<Message>),
    /// A change of a message that is there.
    Change { room: RoomId, message: ObjectId, change: Change },
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Written {
    pub message: Message,
    /// Its position in the room's log; none for a repeat, which takes no new one.
    pub position: Option<i64>,
}

/// An act on its way through the queue, with what identifies it on every try.
#[derive(Debug)]
struct Order {
    act: Act,
    by: UserId,
    event_id: Uuid,
    at: DateTime<Utc>,
    trace: Trace,
    deadline: Instant,
    /// Whether a try of it had an unknown outcome.
    tried: bool,
    answer: oneshot::Sender<Result<Written>>,
}

impl Order {
    fn room(&self) -> RoomId {
        match &self.act {
            Act::Send(message) => message.room_id,
            Act::Change { room, .. } => *room,
        }
    }

    fn bson_event_id(&self) -> bson::Uuid {
        bson::Uuid::from_bytes(self.event_id.into_bytes())
    }

    fn respond(self, answer: Result<Written>) {
        // Whoever asked may have gone; what is written stays written.
        let _ = self.answer.send(answer);
    }
}

/// A handle on the writer.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Order>,
}

impl Writer {
    /// Starts the replica's one writer: two that fight each other are slower.
    pub fn start(
        mongo: &Database,
        relay: Relay,
        hub: Hub,
        rooms: Rooms,
        queries: Queries,
        shutdown: &Shutdown,
    ) -> Self {
        let (queue, orders) = mpsc::channel(QUEUE);
        let (active, to_touch) = mpsc::unbounded_channel();
        let (transactions, ledger) = (Transactions::new(mongo), Ledger::new(mongo));
        let work = Work { transactions, ledger, relay, hub, queries, active };
        shutdown.spawn(work.run(orders, shutdown.stopping_token()));
        shutdown.spawn(touch_rooms(rooms, to_touch));
        Self { queue }
    }

    /// How many orders wait, as long as there is a writer.
    pub fn waiting(&self) -> impl Fn() -> i64 + use<> {
        let queue = self.queue.downgrade();
        move || queue.upgrade().map_or(0, |queue| (QUEUE - queue.capacity()) as i64)
    }

    /// Does something in a room and waits until it is safe.
    pub async fn write(&self, by: UserId, act: Act) -> Result<Written> {
        let (answer, written) = oneshot::channel();
        let order = Order {
            act,
            by,
            event_id: Uuid::now_v7(),
            at: time::now(),
            trace: Trace::current(),
            deadline: Instant::now() + PATIENCE,
            tried: false,
            answer,
        };
        self.queue.try_send(order).map_err(|_| Error::unavailable("message writer", "its queue is full"))?;
        written.await.map_err(|_| Error::unavailable("message writer", "it has stopped"))?
    }
}

struct Work {
    transactions: Transactions,
    ledger: Ledger,
    relay: Relay,
    hub: Hub,
    queries: Queries,
    /// Rooms in which something was sent, and when.
    active: mpsc::UnboundedSender<(RoomId, DateTime<Utc>)>,
}

impl Work {
    async fn run(self, mut orders: mpsc::Receiver<Order>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = orders.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                () = stopping.cancelled() => return,
            }
            self.write(std::mem::take(&mut batch)).await;
        }
    }

    /// Writes a batch, however many tries it takes, and answers every order in it.
    async fn write(&self, batch: Vec<Order>) {
        let (mut left, mut followers) = without_repeats(batch);
        while !left.is_empty() {
            match self.attempt(&left).await {
                Ok(outcomes) => left = self.announce(left, outcomes, &mut followers).await,
                Err(e) => {
                    tracing::debug!(error = %e, orders = left.len(), "batch is tried again");
                    tokio::time::sleep(pause(&e)).await;
                    if aborted(&e) {
                        left = give_up_on_late(left, &e);
                        continue;
                    }
                    left.iter_mut().for_each(|order| order.tried = true);
                    left = self.settle(left, &mut followers).await;
                }
            }
        }
    }

    /// One try, in the trace of everyone whose order is in it.
    async fn attempt(&self, batch: &[Order]) -> mongodb::error::Result<Vec<Result<Outcome>>> {
        let _spans: Vec<Span> = batch.iter().map(|order| span(&order.trace)).collect();
        let began = Instant::now();
        let outcomes = self.transactions.attempt(batch).await;
        self.queries.took("transaction", began.elapsed());
        outcomes
    }

    /// Tells everybody who waits for it what was committed. Returns the orders whose refusal is in doubt.
    async fn announce(
        &self,
        batch: Vec<Order>,
        outcomes: Vec<Result<Outcome>>,
        followers: &mut Followers,
    ) -> Vec<Order> {
        let mut doubtful = Vec::new();
        let mut events = Vec::new();
        for (order, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Unchanged(message)) => order.respond(Ok(Written { message: *message, position: None })),
                Ok(Outcome::Committed(committed)) => {
                    self.hub.offer(&committed);
                    if matches!(order.act, Act::Send(_)) {
                        let _ = self.active.send((order.room(), order.at));
                    }
                    followers.answer(&committed.written.message);
                    order.respond(Ok(committed.written));
                    events.push((committed.place.id(), committed.place.room, committed.event));
                }
                // An earlier try of it may be why it is refused now.
                Err(_) if order.tried => doubtful.push(order),
                Err(refusal) => order.respond(Err(refusal)),
            }
        }
        self.relay.publish(events);
        if doubtful.is_empty() {
            return doubtful;
        }
        let mut left = self.settle(doubtful, followers).await;
        left.iter_mut().for_each(|order| order.tried = false);
        left
    }

    /// Answers what is in after all, and what has run out of time. Returns the rest.
    async fn settle(&self, batch: Vec<Order>, followers: &mut Followers) -> Vec<Order> {
        let found = match self.ledger.look_up(&batch).await {
            Ok(found) => found,
            Err(e) => {
                tracing::warn!(error = %e, "what is in cannot be looked up");
                return give_up_on_late(batch, &e);
            }
        };
        let mut left = Vec::new();
        for (order, written) in batch.into_iter().zip(found) {
            let Some(written) = written else {
                left.push(order);
                continue;
            };
            if let Some(position) = written.position {
                self.hub.hint(order.room(), position);
            }
            followers.answer(&written.message);
            order.respond(Ok(written));
        }
        give_up_on_late(left, "the message store did not take it in time")
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

fn give_up_on_late(batch: Vec<Order>, why: impl ToString) -> Vec<Order> {
    let now = Instant::now();
    let (left, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|order| order.deadline > now);
    late.into_iter().for_each(|order| order.respond(Err(Error::unavailable("mongodb", why.to_string()))));
    left
}

/// Another writer at the same head is done in a moment; an engine that is away takes longer.
fn pause(e: &mongodb::error::Error) -> Duration {
    use mongodb::error::ErrorKind::{ConnectionPoolCleared, Io, ServerSelection};
    let jitter = Duration::from_millis(rand::random_range(RETRY_MILLIS));
    if matches!(&*e.kind, Io(_) | ServerSelection { .. } | ConnectionPoolCleared { .. }) {
        AWAY + jitter
    } else {
        jitter
    }
}

/// Whether the engine says that nothing of the transaction is in, so that nothing has to be looked up.
fn aborted(e: &mongodb::error::Error) -> bool {
    e.contains_label(TRANSIENT_TRANSACTION_ERROR) && !e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}

/// Repeats of one send within a batch: the key would refuse them together, for ever.
#[derive(Default)]
struct Followers(HashMap<SendKey, Vec<Order>>);

type SendKey = (RoomId, UserId, String);

/// What the system says is told apart by its id: several replicas may see to it that it is said.
fn send_key(message: &Message) -> Option<SendKey> {
    let key = match message.message_type {
        MessageType::System => message.id.to_hex(),
        _ => message.client_message_id.clone()?,
    };
    Some((message.room_id, message.user_id, key))
}

/// The orders of a batch, of repeated sends the first; the others follow it.
fn without_repeats(batch: Vec<Order>) -> (Vec<Order>, Followers) {
    let mut followers = Followers::default();
    let mut first = Vec::with_capacity(batch.len());
    for order in batch {
        let key = match &order.act {
            Act::Send(message) => send_key(message),
            Act::Change { .. } => None,
        };
        match key.map(|key| followers.0.entry(key)) {
            Some(std::collections::hash_map::Entry::Occupied(mut others)) => others.get_mut().push(order),
            Some(std::collections::hash_map::Entry::Vacant(none)) => {
                none.insert(Vec::new());
                first.push(order);
            }
            None => first.push(order),
        }
    }
    (first, followers)
}

impl Followers {
    fn answer(&mut self, message: &Message) {
        let repeats = send_key(message).and_then(|key| self.0.remove(&key));
        for order in repeats.into_iter().flatten() {
            order.respond(Ok(Written { message: message.clone(), position: None }));
        }
    }
}

/// Writes the rooms' last activity to MySQL, at most once a second and all rooms at once.
async fn touch_rooms(rooms: Rooms, mut active: mpsc::UnboundedReceiver<(RoomId, DateTime<Utc>)>) {
    const AT_MOST_EVERY: Duration = Duration::from_secs(1);
    let mut batch = Vec::new();
    while active.recv_many(&mut batch, 10 * QUEUE).await > 0 {
        let latest: HashMap<_, _> = batch.drain(..).collect();
        if let Err(e) = rooms.touch(&latest).await {
            tracing::debug!(error = %e, "the rooms' last activity was not written; the next message writes it");
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
    }
}
