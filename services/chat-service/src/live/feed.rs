//! The feed of one room: its window and the mailboxes of its subscribers. And what all feeds of this replica share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use chrono::Utc;
use common::error::Result;
use common::id::RoomId;
use parking_lot::{Mutex, MutexGuard};
use prometheus::Histogram;
use tokio::time::Instant;
use uuid::Uuid;

use super::history::{History, Replay};
use super::mailbox::Mailbox;
use super::recent_events::RecentEvents;
use super::window::Window;
use super::window_memory::WindowMemory;
use crate::wire::Frame;

/// An entry that another replica has just committed usually arrives within this time.
const GRACE: Duration = Duration::from_millis(50);

/// Number of recent events without a position whose repeats are recognized: twice the reads of a second in a group of 500.
const RECENT_EVENTS: usize = 1_024;

/// The time after the start of a feed in which its head is read again, for changes that the read at its start and the
/// changes of heads both lack: a new primary may answer from a state that is older than what the old one announced.
const SETTLING: Duration = Duration::from_secs(10);

/// The feeds of this replica. A feed lives as long as a subscription holds it.
pub struct Feeds {
    by_room: Mutex<HashMap<RoomId, Weak<Feed>>>,
    /// The feeds whose heads are read again, and until when.
    unsettled: Mutex<HashMap<RoomId, Instant>>,
    /// The feeds whose last repair left entries missing.
    behind: Mutex<HashSet<RoomId>>,
    pub memory: WindowMemory,
    pub history: History,
    /// The time from the arrival of a message until subscribers can read it.
    pub delays: Histogram,
}

/// The live events of one room. A replica holds one for each room of its streams, so an idle one is small.
pub struct Feed {
    pub room: RoomId,
    feeds: Arc<Feeds>,
    window: Mutex<Window>,
    repairing: AtomicBool,
    /// The mailboxes of the subscribers, in the order of their ids.
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    /// The ids of recent events without a position.
    recent: Mutex<RecentEvents>,
}

impl Feeds {
    pub fn new(history: History, delays: Histogram, memory: WindowMemory) -> Self {
        let by_room = Mutex::default();
        Self { by_room, unsettled: Mutex::default(), behind: Mutex::default(), memory, history, delays }
    }

    /// The feed of a room, if the room has subscribers.
    pub fn get(&self, room: RoomId) -> Option<Arc<Feed>> {
        self.by_room.lock().get(&room)?.upgrade()
    }

    /// The feed of a room, created if the room has no subscribers.
    pub fn get_or_create(self: &Arc<Self>, room: RoomId) -> Arc<Feed> {
        let mut by_room = self.by_room.lock();
        if let Some(feed) = by_room.get(&room).and_then(Weak::upgrade) {
            return feed;
        }
        let feed = Arc::new(Feed::new(room, self.clone()));
        by_room.insert(room, Arc::downgrade(&feed));
        self.unsettled.lock().insert(room, Instant::now() + SETTLING);
        feed
    }

    /// Forgets all feeds. New subscriptions create new ones; the feeds of open subscriptions receive nothing more.
    pub fn clear(&self) {
        self.by_room.lock().drain().for_each(|(room, _)| self.memory.release(room));
    }

    /// The rooms with subscribers.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.by_room.lock().keys().copied().collect()
    }

    /// Forgets a feed that has no subscription any more.
    pub fn remove(&self, room: RoomId) {
        let mut by_room = self.by_room.lock();
        // A new feed of the room may have taken the place.
        if by_room.get(&room).is_none_or(|feed| feed.strong_count() == 0) {
            by_room.remove(&room);
            self.memory.release(room);
        }
    }

    /// The number of rooms with subscribers.
    pub fn room_count(&self) -> usize {
        self.by_room.lock().len()
    }

    /// The heads of all rooms have to be read again.
    pub fn unsettle_all(&self) {
        let (by_room, until) = (self.by_room.lock(), Instant::now() + SETTLING);
        self.unsettled.lock().extend(by_room.keys().map(|room| (*room, until)));
    }

    /// The rooms whose heads have to be read again. Each is returned until its time has passed, and once after it.
    pub fn unsettled(&self) -> Vec<RoomId> {
        let mut unsettled = self.unsettled.lock();
        let (rooms, now) = (unsettled.keys().copied().collect(), Instant::now());
        unsettled.retain(|_, until| *until > now);
        unsettled.shrink_to_fit();
        rooms
    }

    /// Remembers a feed that misses entries.
    pub fn repair_later(&self, room: RoomId) {
        self.behind.lock().insert(room);
    }

    /// Repairs the feeds that miss entries.
    pub fn retry_repairs(&self) {
        let behind = std::mem::take(&mut *self.behind.lock());
        behind.into_iter().filter_map(|room| self.get(room)).for_each(|feed| feed.repair_if_behind());
    }

    /// Drops the frames of the rooms that were not used for the longest time, while all frames take more than the limit.
    pub fn forget_unused(&self) {
        self.memory.surplus().into_iter().filter_map(|room| self.get(room)).for_each(|feed| feed.forget());
    }
}

impl Feed {
    fn new(room: RoomId, feeds: Arc<Feeds>) -> Self {
        let (repairing, recent) = (AtomicBool::new(false), Mutex::new(RecentEvents::new(RECENT_EVENTS)));
        Self { room, feeds, window: Mutex::default(), repairing, mailboxes: Mutex::default(), recent }
    }

    /// Whether the room's position is known, so that the window has an edge.
    pub fn is_started(&self) -> bool {
        self.window().edge().is_some()
    }

    /// Sets the room's position, once.
    pub fn start(&self, position: i64) {
        self.update(|window| window.start(position));
    }

    /// Adds a mailbox: it is notified of every advance and receives every broadcast from now on.
    pub fn subscribe(&self, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        if let Err(place) = mailboxes.binary_search_by_key(&mailbox.id, |other| other.id) {
            mailboxes.insert(place, mailbox.clone());
        }
    }

    pub fn unsubscribe(&self, mailbox: &Mailbox) {
        let mut mailboxes = self.mailboxes.lock();
        if let Ok(place) = mailboxes.binary_search_by_key(&mailbox.id, |other| other.id) {
            mailboxes.remove(place);
        }
    }

    pub fn history(&self) -> &History {
        &self.feeds.history
    }

    pub fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock()
    }

    /// Sends an event without a position to all subscribers.
    pub fn broadcast(&self, event: impl FnOnce() -> Event) {
        let mailboxes = self.mailboxes.lock();
        if mailboxes.is_empty() {
            return;
        }
        let event = event();
        mailboxes.iter().for_each(|mailbox| mailbox.push(Some(self.room), event.clone()));
    }

    /// Whether an event without a position is none of the recent ones.
    pub fn is_new(&self, event_id: Option<Uuid>) -> bool {
        let is_new = {
            let mut recent = self.recent.lock();
            let is_new = recent.insert(event_id);
            if is_new && event_id.is_some() {
                let window = self.window();
                self.feeds.memory.use_by(self.room, window.bytes() + recent.bytes());
            }
            is_new
        };
        self.feeds.forget_unused();
        is_new
    }

    /// Takes a frame; frames may arrive in any order and repeatedly.
    pub fn offer(self: &Arc<Self>, frame: Frame) {
        self.update(|window| window.offer(frame));
        self.repair_if_behind();
    }

    /// Learns that a position exists, and reads the missing entries if they do not arrive by themselves.
    pub fn hint(self: &Arc<Self>, position: i64) {
        self.update(|window| window.hint(position));
        self.repair_if_behind();
    }

    /// Updates the window and notifies the subscribers if its edge has advanced.
    ///
    /// The lock on the window is released before the mailboxes are notified. A subscriber that reads in between sees the new
    /// edge and gets one notification too many; none can get one too few.
    fn update(&self, update: impl FnOnce(&mut Window)) {
        let (advanced, used) = {
            let recent = self.recent.lock();
            let mut window = self.window();
            let (before, bytes) = (window.edge(), window.bytes());
            update(&mut window);
            if let Some(before) = before {
                self.measure(&window, before);
            }
            let advanced = window.edge() != before;
            let used = window.bytes() != bytes || (advanced && bytes > 0);
            if used {
                self.feeds.memory.use_by(self.room, window.bytes() + recent.bytes());
            }
            (advanced, used)
        };
        if advanced {
            self.mailboxes.lock().iter().for_each(|mailbox| mailbox.notify(self.room));
        }
        if used {
            self.feeds.forget_unused();
        }
    }

    /// Drops the frames and the ids of recent events.
    pub fn forget(&self) {
        self.window().forget();
        *self.recent.lock() = RecentEvents::new(RECENT_EVENTS);
    }

    /// Observes the time from the arrival of messages until subscribers can read them.
    fn measure(&self, window: &Window, before: i64) {
        for sent_at in window.since(before).filter_map(|frame| frame.sent_at) {
            let delay = Utc::now().signed_duration_since(sent_at);
            // The clocks of two machines may differ, so the difference may be negative.
            self.feeds.delays.observe(delay.to_std().unwrap_or_default().as_secs_f64());
        }
    }

    /// Reads missing entries from the log after a grace period, once for all subscribers.
    pub fn repair_if_behind(self: &Arc<Self>) {
        if self.window().missing().is_none() || self.repairing.swap(true, Ordering::AcqRel) {
            return;
        }
        let feed = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            if let Err(e) = feed.repair().await {
                tracing::warn!(error = %e, room = %feed.room, "cannot read the room's log");
            }
            feed.repairing.store(false, Ordering::Release);
            // The read failed or found less than there is, or a position became known when it had ended.
            if feed.window().missing().is_some() {
                feed.feeds.repair_later(feed.room);
            }
        });
    }

    async fn repair(&self) -> Result<()> {
        loop {
            let Some((edge, newest)) = self.window().missing() else { return Ok(()) };
            match self.history().replay(self.room, edge, newest).await? {
                Replay::Frames(frames) => {
                    self.update(|window| frames.into_iter().for_each(|frame| window.offer(frame)));
                }
                Replay::Gap => {
                    let head = self.history().position(self.room).await?;
                    self.update(|window| window.skip_to(head));
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.feeds.remove(self.room);
    }
}
