//! Read receipts: a read advances the reader's marker, and its event goes to streams and to Kafka.
//!
//! Reads are written in batches, like messages: all reads that wait are one transaction, of as many round trips for a thousand
//! readers as for one. The reads of large groups wait for up to a second after the last batch of such reads, so that a message
//! that five hundred members read at once costs two batches and not five hundred.

use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use common::error::{Error, Result};
use common::events::chat::MessagesRead;
use common::id::UserId;
use platform::shutdown::Shutdown;
use platform::telemetry::Trace;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{Message, MessageType, Room};
use crate::live::Hub;
use crate::outbox::{self, Relay};
use crate::store::{Extent, NotAdvanced, OutboxEntry, Read, ReadMarkers, ReadRequest, StoreClock, Written};

/// Limit on the reads of one transaction.
const MAX_BATCH: usize = 500;

/// Capacity of the queue. Beyond it, a read is answered 503.
const QUEUE: usize = 4 * MAX_BATCH;

/// The reads of groups with at least so many members wait for each other.
const LARGE_GROUP: usize = 100;

/// The pause between two batches of the reads of large groups.
const COALESCE: Duration = Duration::from_secs(1);

/// Time limit of a batch's first try. The markers of a replica that was killed stay locked for up to 3 s.
const TRY: Duration = Duration::from_secs(5);

/// Time limit of a try of a part of a batch that was not written in time: a batch is halved nine times before its cause stands
/// alone, and all of that is over before [`DEADLINE`].
const TRY_OF_PART: Duration = Duration::from_millis(500);

/// A batch is not halved any more after this time. Its last parts are tried once more each.
const DEADLINE: Duration = Duration::from_secs(10);

/// A handle on the task that writes reads.
#[derive(Clone)]
pub struct Receipts {
    queue: mpsc::Sender<Queued>,
    clock: StoreClock,
}

struct Queued {
    read: ReadRequest,
    trace: Trace,
    answer: oneshot::Sender<Result<usize>>,
}

impl Receipts {
    /// Starts the task.
    pub fn start(markers: ReadMarkers, hub: Hub, relay: Relay, clock: StoreClock, shutdown: &Shutdown) -> Self {
        let (queue, reads) = mpsc::channel(QUEUE);
        shutdown.spawn(Task { markers, hub, relay }.run(reads, shutdown.stopping_token()));
        Self { queue, clock }
    }

    /// Marks all messages of a room as read. Returns the number of those that were unread.
    pub async fn read_room(&self, reader: UserId, room: &Arc<Room>) -> Result<usize> {
        self.read(reader, room, Extent::Room).await
    }

    /// Marks messages of a room as read. Returns the number of those that were unread.
    pub async fn read_messages(&self, reader: UserId, room: &Arc<Room>, messages: &[Message]) -> Result<usize> {
        let countable = |message: &&Message| {
            message.user_id != reader && message.message_type != MessageType::System && !message.is_deleted
        };
        let others = messages.iter().filter(countable);
        let numbered: Vec<(ObjectId, i64)> = others.filter_map(|message| Some((message.id, message.seq?))).collect();
        if numbered.is_empty() {
            return Ok(0);
        }
        self.read(reader, room, Extent::Messages(numbered)).await
    }

    async fn read(&self, reader: UserId, room: &Arc<Room>, extent: Extent) -> Result<usize> {
        let read =
            ReadRequest { reader, room: room.clone(), extent, at: self.clock.now(), event_id: self.clock.new_id() };
        let (answer, answered) = oneshot::channel();
        let queued = Queued { read, trace: Trace::current(), answer };
        self.queue.try_send(queued).map_err(|_| Error::unavailable("read receipts", "the queue is full"))?;
        answered.await.map_err(|_| Error::unavailable("read receipts", "the task has stopped"))?
    }
}

struct Task {
    markers: ReadMarkers,
    hub: Hub,
    relay: Relay,
}

impl Task {
    async fn run(self, mut reads: mpsc::Receiver<Queued>, stopping: CancellationToken) {
        let (mut taken, mut held) = (Vec::with_capacity(MAX_BATCH), Vec::new());
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                n = reads.recv_many(&mut taken, MAX_BATCH) => if n == 0 { return },
                () = tokio::time::sleep_until(due), if !held.is_empty() => {}
                () = stopping.cancelled() => return self.write(held).await,
            }
            let (large, others): (Vec<_>, Vec<_>) =
                taken.drain(..).partition(|queued: &Queued| queued.read.room.members.len() >= LARGE_GROUP);
            held.extend(large);
            self.write(others).await;
            if !held.is_empty() && (held.len() >= MAX_BATCH || Instant::now() >= due) {
                self.write(std::mem::take(&mut held)).await;
                due = Instant::now() + COALESCE;
            }
        }
    }

    /// Writes reads and answers them. A batch that the store refuses or does not write in time is halved until the cause stands
    /// alone.
    async fn write(&self, batch: Vec<Queued>) {
        let deadline = Instant::now() + DEADLINE;
        let mut parts = vec![(batch, TRY)];
        while let Some((mut part, limit)) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let requests: Vec<&ReadRequest> = part.iter().map(|queued| &queued.read).collect();
            let event = |n: usize, read: &Read| outbox::of_read(&receipt(read), read.event_id, read.at, &part[n].trace);
            let e = match self.markers.advance(&requests, limit, event).await {
                Ok(written) => {
                    let left = part.split_off(written.len());
                    self.finish(part, written);
                    parts.push((left, limit));
                    continue;
                }
                Err(e) => e,
            };
            let (limit, halves) = match &e {
                NotAdvanced::TimedOut => (TRY_OF_PART, Instant::now() < deadline),
                NotAdvanced::Failed(e) => (limit, matches!(e.get_ref(), Error::Internal(_))),
            };
            if halves && part.len() > 1 {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part].map(|part| (part, limit)));
            } else {
                let e = Error::from(e);
                part.into_iter().for_each(|queued| queued.respond(Err(copy(&e))));
            }
        }
    }

    /// Publishes reads and answers them.
    fn finish(&self, part: Vec<Queued>, written: Written) {
        let mut events = Vec::new();
        for (queued, written) in part.into_iter().zip(written) {
            let Some((read, event)) = written else {
                queued.respond(Ok(0));
                continue;
            };
            self.hub.broadcast_read(receipt(&read), Some(read.event_id), read.at);
            events.push(OutboxEntry { id: read.id(), event });
            queued.respond(Ok(read.messages.len()));
        }
        self.relay.publish(events);
    }
}

impl Queued {
    /// Answers the reader. If the reader is gone, the answer is dropped and the read remains.
    fn respond(self, answer: Result<usize>) {
        let _ = self.answer.send(answer);
    }
}

impl From<NotAdvanced> for Error {
    fn from(e: NotAdvanced) -> Self {
        match e {
            NotAdvanced::TimedOut => Self::unavailable("mongodb", "the reads were not stored in time"),
            NotAdvanced::Failed(e) => e.into(),
        }
    }
}

/// The error of a batch for one of its reads.
fn copy(e: &Error) -> Error {
    match e {
        Error::Unavailable { .. } => Error::unavailable("mongodb", e.to_string()),
        e => Error::internal(e.to_string()),
    }
}

fn receipt(read: &Read) -> MessagesRead {
    let message_ids = read.messages.iter().map(|(id, _)| id.to_hex()).collect();
    MessagesRead { room_id: read.room, user_id: read.reader, message_ids, up_to: read.up_to }
}
