//! The rooms that someone on this replica listens to.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::error::Result;
use common::events::Received;
use common::events::chat::{MessageDeleted, MessageEdited, MessageSent, MessagesRead, ReactionChanged};
use common::id::RoomId;
use common::task::run_detached;
use common::telemetry::trace;
use prometheus::Histogram;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::frame::{self, Frame};
use super::mailbox::Mailbox;
use super::window::Window;
use crate::domain::{Message, MessageType};
use crate::store::{Entry, Log, Messages};
use crate::writer::Committed;

/// A predecessor that another replica has just committed is usually here within this.
const GRACE: Duration = Duration::from_millis(50);

/// How often the heads are looked at for what no hint told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Events without a position by which a repeat is known.
const REMEMBERED: usize = 64;

/// Heads read at once.
const HEADS_AT_ONCE: usize = 5_000;

/// Positions read from the log at once.
pub const REPLAY: i64 = 200;

/// A handle on the hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    messages: Messages,
    /// From a message's arrival to its readers.
    delays: Histogram,
    /// A room's feed lives as long as someone listens to it.
    feeds: Mutex<HashMap<RoomId, Weak<Feed>>>,
}

/// What is live in one room.
pub struct Feed {
    pub room: RoomId,
    window: Mutex<Window>,
    begun: OnceCell<()>,
    repairing: AtomicBool,
    /// Who listens, by the id of the mailbox.
    listeners: Mutex<HashMap<u64, Arc<Mailbox>>>,
    /// Events without a position that were told lately.
    told: Mutex<VecDeque<Uuid>>,
    delays: Histogram,
    hub: Weak<Shared>,
}

impl Hub {
    pub fn new(log: Log, messages: Messages, delays: Histogram) -> Self {
        Self { shared: Arc::new(Shared { log, messages, delays, feeds: Mutex::default() }) }
    }

    /// How many rooms someone listens to.
    pub fn listened_rooms(&self) -> usize {
        self.shared.rooms().len()
    }

    /// The feeds of rooms, which know where the rooms stand: one round trip, none where someone listens already.
    pub async fn feeds(&self, rooms: &[RoomId]) -> Result<Vec<Arc<Feed>>> {
        let feeds: Vec<Arc<Feed>> = rooms.iter().map(|room| self.shared.feed_or_new(*room)).collect();
        let new: Vec<RoomId> = feeds.iter().filter(|feed| !feed.begun.initialized()).map(|feed| feed.room).collect();
        // They take frames already, so none falls between the head's position and the first one that is offered.
        let positions = self.positions(&new).await?;
        for feed in &feeds {
            let position = positions.get(&feed.room).copied().unwrap_or(0);
            feed.begun.get_or_init(|| async { feed.change(|window| window.begin(position)) }).await;
        }
        Ok(feeds)
    }

    /// The positions at which rooms stand in the store.
    pub async fn positions(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        let mut positions = HashMap::with_capacity(rooms.len());
        for rooms in rooms.chunks(HEADS_AT_ONCE) {
            let (shared, rooms) = (self.shared.clone(), rooms.to_vec());
            positions.extend(run_detached(async move { shared.log.positions(&rooms).await }).await?);
        }
        Ok(positions)
    }

    /// The position at which a room stands in the store.
    pub async fn position(&self, room: RoomId) -> Result<i64> {
        Ok(self.shared.log.head(room).await?.map_or(0, |head| head.position))
    }

    /// What happened in a room after a position, in order, at most [`REPLAY`].
    pub async fn replay(&self, room: RoomId, after: i64) -> Result<Vec<Frame>> {
        let shared = self.shared.clone();
        run_detached(async move { shared.replay(room, after).await }).await
    }

    /// Takes what the writer of this replica has committed.
    pub fn offer(&self, committed: &Committed) {
        if let Some(feed) = self.shared.listened(committed.place.room) {
            let _span = span(committed.event.traceparent.as_deref());
            let message = &committed.written.message;
            let reacted = committed.reacted.as_ref();
            feed.offer(Frame::of(committed.place, committed.kind, committed.by, reacted, message));
        }
    }

    /// Learns that a position exists.
    pub fn hint(&self, room: RoomId, position: i64) {
        if let Some(feed) = self.shared.listened(room) {
            feed.hint(position);
        }
    }

    /// Tells the listeners of a room of a read, once, whichever way it is heard of.
    pub fn tell_read(&self, read: &MessagesRead, event_id: Option<Uuid>, at: DateTime<Utc>) {
        if let Some(feed) = self.shared.listened(read.room_id) {
            // What was read exists; it may not have been heard of yet.
            feed.hint(read.up_to.unwrap_or(0));
            feed.tell(event_id, || frame::messages_read(read, at));
        }
    }

    /// Tells the listeners of a room of something that is live only.
    pub fn pass(&self, room: RoomId, event: Event) {
        if let Some(feed) = self.shared.listened(room) {
            feed.tell(None, || event);
        }
    }

    /// Looks at the heads of all rooms with listeners, until the shutdown: without Kafka streams go on by this.
    pub async fn watch_heads(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopping.cancelled() => return,
            }
            match self.positions(&self.shared.rooms()).await {
                Ok(positions) => positions.into_iter().for_each(|(room, position)| self.hint(room, position)),
                Err(e) => tracing::warn!(error = %e, "heads cannot be read"),
            }
        }
    }

    /// Takes what another replica tells, or this one again.
    pub fn hear(&self, event: &Received) -> Result<()> {
        let Some(feed) = event.key().parse().ok().and_then(|room| self.shared.listened(room)) else { return Ok(()) };
        if event.is::<MessageSent>() {
            let sent: MessageSent = event.decode()?;
            // The original's events have no position, and what the system says is told only in part.
            if sent.message_type == MessageType::System.as_str() {
                feed.hint(sent.position);
            } else if sent.position > 0 {
                let _span = span(event.record.header(trace::TRACEPARENT));
                feed.offer(Frame::of_event(&sent, event.timestamp));
            }
        } else if event.is::<MessagesRead>() {
            self.tell_read(&event.decode()?, event.event_id, event.timestamp);
        } else if event.is::<MessageEdited>() {
            // Of changes the latest state is told, which is in the store.
            feed.hint(event.decode::<MessageEdited>()?.position);
        } else if event.is::<MessageDeleted>() {
            feed.hint(event.decode::<MessageDeleted>()?.position);
        } else if event.is::<ReactionChanged>() {
            feed.hint(event.decode::<ReactionChanged>()?.position);
        }
        Ok(())
    }
}

/// The fan-out, in the trace of what is told.
fn span(traceparent: Option<&str>) -> Span {
    trace::follow(tracing::info_span!(target: trace::TARGET, parent: None, "fan out"), traceparent)
}

impl Shared {
    fn feeds(&self) -> MutexGuard<'_, HashMap<RoomId, Weak<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed_or_new(self: &Arc<Self>, room: RoomId) -> Arc<Feed> {
        let mut feeds = self.feeds();
        if let Some(feed) = feeds.get(&room).and_then(Weak::upgrade) {
            return feed;
        }
        let feed = Arc::new(Feed {
            room,
            window: Mutex::default(),
            begun: OnceCell::new(),
            repairing: AtomicBool::new(false),
            listeners: Mutex::default(),
            told: Mutex::default(),
            delays: self.delays.clone(),
            hub: Arc::downgrade(self),
        });
        feeds.insert(room, Arc::downgrade(&feed));
        feed
    }

    fn listened(&self, room: RoomId) -> Option<Arc<Feed>> {
        self.feeds().get(&room)?.upgrade()
    }

    fn rooms(&self) -> Vec<RoomId> {
        let feeds = self.feeds();
        feeds.iter().filter(|(_, feed)| feed.strong_count() > 0).map(|(room, _)| *room).collect()
    }

    async fn replay(&self, room: RoomId, after: i64) -> Result<Vec<Frame>> {
        let entries = self.log.after(room, after, REPLAY).await?;
        let ids: Vec<_> = entries.iter().map(|entry| entry.message_id).collect();
        let messages = self.messages.by_ids(&ids).await?;
        let frame = |entry: &Entry| messages.get(&entry.message_id).map(|m: &Message| Frame::of_entry(entry, m));
        Ok(entries.iter().filter_map(frame).collect())
    }
}

impl Feed {
    /// From now on the mailbox hears of what happens here.
    pub fn listen(&self, mailbox: &Arc<Mailbox>) {
        self.listeners().insert(mailbox.id, mailbox.clone());
    }

    pub fn leave(&self, mailbox: &Mailbox) {
        self.listeners().remove(&mailbox.id);
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event_id: Option<Uuid>, event: impl FnOnce() -> Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = event_id {
            if told.contains(&id) {
                return;
            }
            told.push_back(id);
            if told.len() > REMEMBERED {
                told.pop_front();
            }
        }
        let event = event();
        self.listeners().values().for_each(|mailbox| mailbox.pass(event.clone()));
    }

    pub fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(self: &Arc<Self>, frame: Frame) {
        self.change(|window| window.offer(frame));
        self.repair_if_behind();
    }

    pub fn hint(self: &Arc<Self>, position: i64) {
        self.change(|window| window.hint(position));
        self.repair_if_behind();
    }

    fn change(&self, change: impl FnOnce(&mut Window)) {
        let moved = {
            let mut window = self.window();
            let before = window.edge();
            change(&mut window);
            if let Some(before) = before {
                self.measure(&window, before);
            }
            window.edge() != before
        };
        if moved {
            self.listeners().values().for_each(|mailbox| mailbox.moved(self.room));
        }
    }

    /// Notes how long the messages took that readers can now have.
    fn measure(&self, window: &Window, before: i64) {
        for sent_at in window.since(before).filter_map(|frame| frame.sent_at) {
            let took = Utc::now().signed_duration_since(sent_at);
            // Clocks of two machines may differ.
            self.delays.observe(took.to_std().unwrap_or_default().as_secs_f64());
        }
    }

    /// Reads what is missing from the log, after a moment in which it may come by itself: once, not once per reader.
    fn repair_if_behind(self: &Arc<Self>) {
        if !self.window().behind() || self.repairing.swap(true, Ordering::AcqRel) {
            return;
        }
        let feed = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            if let Err(e) = feed.repair().await {
                // The heads are looked at again soon.
                tracing::warn!(error = %e, room = %feed.room, "the log cannot be read");
            }
            feed.repairing.store(false, Ordering::Release);
        });
    }

    async fn repair(&self) -> Result<()> {
        while let Some(hub) = self.hub.upgrade() {
            let edge = {
                let window = self.window();
                window.edge().filter(|_| window.behind())
            };
            let Some(edge) = edge else { break };
            let frames = hub.replay(self.room, edge).await?;
            if frames.is_empty() {
                break;
            }
            self.change(|window| frames.into_iter().for_each(|frame| window.offer(frame)));
        }
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut feeds = hub.feeds();
        // A new feed of the room may stand there already.
        if feeds.get(&self.room).is_some_and(|feed| feed.strong_count() == 0) {
            feeds.remove(&self.room);
        }
    }
}
