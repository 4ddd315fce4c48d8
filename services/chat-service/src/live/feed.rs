//! The feed of one room: its window and the mailboxes of its subscribers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use chrono::Utc;
use common::error::Result;
use common::id::RoomId;
use parking_lot::{Mutex, MutexGuard};
use prometheus::Histogram;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::history::{History, Replay};
use super::mailbox::Mailbox;
use super::recent_events::RecentEvents;
use super::window::Window;
use crate::wire::Frame;

/// An entry that another replica has just committed usually arrives within this time.
const GRACE: Duration = Duration::from_millis(50);

/// Number of recent events without a position whose repeats are recognized: twice the reads of a second in a group of 500.
const RECENT_EVENTS: usize = 1_024;

/// The feeds of this replica. A feed lives as long as a subscription holds it.
#[derive(Default)]
pub struct Feeds {
    by_room: Mutex<HashMap<RoomId, Weak<Feed>>>,
}

/// The live events of one room.
pub struct Feed {
    pub room: RoomId,
    window: Mutex<Window>,
    started: OnceCell<()>,
    repairing: AtomicBool,
    /// The mailboxes of the subscribers, by their ids.
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
    /// The ids of recent events without a position.
    recent: Mutex<RecentEvents>,
    delays: Histogram,
    history: History,
    feeds: Weak<Feeds>,
}

impl Feeds {
    /// The feed of a room, if the room has subscribers.
    pub fn get(&self, room: RoomId) -> Option<Arc<Feed>> {
        self.by_room.lock().get(&room)?.upgrade()
    }

    /// The feed of a room, created if the room has no subscribers.
    pub fn get_or_create(self: &Arc<Self>, room: RoomId, history: &History, delays: &Histogram) -> Arc<Feed> {
        let mut by_room = self.by_room.lock();
        if let Some(feed) = by_room.get(&room).and_then(Weak::upgrade) {
            return feed;
        }
        let feed = Arc::new(Feed {
            room,
            window: Mutex::default(),
            started: OnceCell::new(),
            repairing: AtomicBool::new(false),
            mailboxes: Mutex::default(),
            recent: Mutex::new(RecentEvents::new(RECENT_EVENTS)),
            delays: delays.clone(),
            history: history.clone(),
            feeds: Arc::downgrade(self),
        });
        by_room.insert(room, Arc::downgrade(&feed));
        feed
    }

    /// Forgets all feeds. New subscriptions create new ones; the feeds of open subscriptions receive nothing more.
    pub fn clear(&self) {
        self.by_room.lock().clear();
    }

    /// The rooms with subscribers.
    pub fn rooms(&self) -> Vec<RoomId> {
        let by_room = self.by_room.lock();
        by_room.iter().filter(|(_, feed)| feed.strong_count() > 0).map(|(room, _)| *room).collect()
    }
}

impl Feed {
    /// Whether the room's position is known, so that the window has an edge.
    pub fn is_started(&self) -> bool {
        self.started.initialized()
    }

    /// Sets the room's position, once.
    pub async fn start(&self, position: i64) {
        self.started.get_or_init(|| async { self.update(|window| window.start(position)) }).await;
    }

    /// Adds a mailbox: it is notified of every advance and receives every broadcast from now on.
    pub fn subscribe(&self, mailbox: &Arc<Mailbox>) {
        self.mailboxes.lock().insert(mailbox.id, mailbox.clone());
    }

    pub fn unsubscribe(&self, mailbox: &Mailbox) {
        self.mailboxes.lock().remove(&mailbox.id);
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
        mailboxes.values().for_each(|mailbox| mailbox.push(Some(self.room), event.clone()));
    }

    /// Whether an event without a position is none of the recent ones.
    pub fn is_new(&self, event_id: Option<Uuid>) -> bool {
        self.recent.lock().insert(event_id)
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
        let advanced = {
            let mut window = self.window();
            let before = window.edge();
            update(&mut window);
            if let Some(before) = before {
                self.measure(&window, before);
            }
            window.edge() != before
        };
        if advanced {
            self.mailboxes.lock().values().for_each(|mailbox| mailbox.notify(self.room));
        }
    }

    /// Observes the time from the arrival of messages until subscribers can read them.
    fn measure(&self, window: &Window, before: i64) {
        for sent_at in window.since(before).filter_map(|frame| frame.sent_at) {
            let delay = Utc::now().signed_duration_since(sent_at);
            // The clocks of two machines may differ, so the difference may be negative.
            self.delays.observe(delay.to_std().unwrap_or_default().as_secs_f64());
        }
    }

    /// Reads missing entries from the log after a grace period, once for all subscribers.
    fn repair_if_behind(self: &Arc<Self>) {
        if self.window().missing().is_none() || self.repairing.swap(true, Ordering::AcqRel) {
            return;
        }
        let feed = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            if let Err(e) = feed.repair().await {
                // The next look at the heads repeats the repair.
                tracing::warn!(error = %e, room = %feed.room, "cannot read the room's log");
            }
            feed.repairing.store(false, Ordering::Release);
        });
    }

    async fn repair(&self) -> Result<()> {
        loop {
            let Some((edge, newest)) = self.window().missing() else { return Ok(()) };
            match self.history.replay(self.room, edge, newest).await? {
                Replay::Frames(frames) => {
                    self.update(|window| frames.into_iter().for_each(|frame| window.offer(frame)));
                }
                Replay::Gap => {
                    let head = self.history.position(self.room).await?;
                    self.update(|window| window.skip_to(head));
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Some(feeds) = self.feeds.upgrade() else { return };
        let mut by_room = feeds.by_room.lock();
        // A new feed of the room may have taken the place.
        if by_room.get(&self.room).is_some_and(|feed| feed.strong_count() == 0) {
            by_room.remove(&self.room);
        }
    }
}
