//! The rooms that someone on this replica listens to.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::error::Result;
use common::events::Received;
use common::events::chat::{MessageDeleted, MessageEdited, MessageSent, MessagesRead};
use common::id::RoomId;
use common::telemetry::trace;
use prometheus::Histogram;
use tokio::sync::{OnceCell, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::frame::{self, Frame};
use super::window::Window;
use crate::domain::Message;
use crate::store::{Entry, Log, Messages};
use crate::writer::Committed;

/// A predecessor that another replica has just committed is usually here within this.
const GRACE: Duration = Duration::from_millis(50);

/// How often the heads are looked at for what no hint told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Live events without a position that a reader may lag behind.
const PASSING: usize = 64;

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
    /// Moves with the window's edge.
    edge: watch::Sender<i64>,
    repairing: AtomicBool,
    /// What is live only: who listens hears it, and nobody else ever.
    passing: broadcast::Sender<Event>,
    /// Events of it that were told lately.
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

    /// The feed of a room, which knows where the room stands.
    pub async fn feed(&self, room: RoomId) -> Result<Arc<Feed>> {
        let feed = self.shared.feed_or_new(room);
        // It takes frames already, so none falls between the head's position and the first one that is offered.
        feed.begun.get_or_try_init(|| self.begin(&feed)).await?;
        Ok(feed)
    }

    async fn begin(&self, feed: &Feed) -> Result<()> {
        let head = self.shared.log.head(feed.room).await?;
        feed.change(|window| window.begin(head.map_or(0, |head| head.position)));
        Ok(())
    }

    /// The position at which a room stands in the store.
    pub async fn position(&self, room: RoomId) -> Result<i64> {
        Ok(self.shared.log.head(room).await?.map_or(0, |head| head.position))
    }

    /// What happened in a room after a position, in order, at most [`REPLAY`].
    pub async fn replay(&self, room: RoomId, after: i64) -> Result<Vec<Frame>> {
        self.shared.replay(room, after).await
    }

    /// Takes what the writer of this replica has committed.
    pub fn offer(&self, committed: &Committed) {
        if let Some(feed) = self.shared.listened(committed.place.room) {
            let _span = span(committed.event.traceparent.as_deref());
            let message = &committed.written.message;
            feed.offer(Frame::of(committed.place, committed.kind, committed.by, message));
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

    /// Looks at the heads of all rooms with listeners, until the shutdown: without Kafka streams go on by this.
    pub async fn watch_heads(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopping.cancelled() => return,
            }
            match self.shared.log.heads(&self.shared.rooms()).await {
                Ok(heads) => heads.values().for_each(|head| self.hint(head.room, head.position)),
                Err(e) => tracing::warn!(error = %e, "heads cannot be read"),
            }
        }
    }

    /// Takes what another replica tells, or this one again.
    pub fn hear(&self, event: &Received) -> Result<()> {
        let Some(feed) = event.key().parse().ok().and_then(|room| self.shared.listened(room)) else { return Ok(()) };
        if event.is::<MessageSent>() {
            let sent: MessageSent = event.decode()?;
            // The original's events have no position.
            if sent.position > 0 {
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
            edge: watch::Sender::new(0),
            repairing: AtomicBool::new(false),
            passing: broadcast::Sender::new(PASSING),
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
    /// Resolves when the edge moves.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.edge.subscribe()
    }

    /// What is live only; who lags behind misses some of it.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.passing.subscribe()
    }

    fn tell(&self, event_id: Option<Uuid>, event: impl FnOnce() -> Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = event_id {
            if told.contains(&id) {
                return;
            }
            told.push_back(id);
            if told.len() > PASSING {
                told.pop_front();
            }
        }
        // Nobody may be listening just now.
        let _ = self.passing.send(event());
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
        let edge = {
            let mut window = self.window();
            let before = window.edge();
            change(&mut window);
            if let Some(before) = before {
                self.measure(&window, before);
            }
            window.edge().unwrap_or(0)
        };
        self.edge.send_if_modified(|known| {
            let moved = *known < edge;
            *known = (*known).max(edge);
            moved
        });
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
