//! The rooms of one stream: in each a position that advances.

use std::sync::Arc;

use common::error::{Error, Result};
use common::id::RoomId;

use super::feed::Feed;
use super::history::Replay;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::window::Next;
use crate::wire::Frame;

/// Limit on the frames that are taken from the window at once. The others stay in the window, which all readers share.
const MAX_FRAMES: usize = 32;

/// The continuation of a room on a stream.
pub enum Step {
    /// The next frames; none at the live edge.
    Frames(Vec<Arc<Frame>>),
    /// The room's log lacks the next entry. The reader stands at the live edge now.
    Gap,
}

/// Reads a room from a position on, exactly once and in order. A stream holds one for each of its rooms, so it is small.
pub struct RoomSubscription {
    feed: Arc<Feed>,
    /// The room's position at the start. Earlier entries are replayed from the store, in their latest state: the window may
    /// still hold the content of a message that was deleted since.
    live_from: i64,
    position: i64,
    /// The position of the reader's last join, 0 for a member since the creation of the room.
    pub joined: i64,
    /// The reader is not a member at the current position of the log.
    pub absent: bool,
}

/// The subscriptions of one stream, which end when this value is dropped.
pub struct RoomSubscriptions {
    mailbox: Arc<Mailbox>,
    /// In the order of the rooms.
    rooms: Vec<RoomSubscription>,
}

impl RoomSubscriptions {
    /// Starts at the live edge of each room, in one round trip.
    pub async fn start(hub: &Hub, mailbox: &Arc<Mailbox>, rooms: &[RoomId]) -> Result<Self> {
        let feeds = hub.feeds(rooms).await?;
        let mut rooms: Vec<_> = feeds.into_iter().map(|feed| RoomSubscription::to_feed(feed, mailbox)).collect();
        rooms.sort_unstable_by_key(RoomSubscription::room);
        Ok(Self { mailbox: mailbox.clone(), rooms })
    }

    /// Starts in one more room, at a position that the room has. `joined` is the position of the reader's join.
    pub async fn add(&mut self, hub: &Hub, room: RoomId, position: i64, joined: i64) -> Result<()> {
        if let Err(place) = self.place(room) {
            let mut subscription = RoomSubscription::start(hub, &self.mailbox, room).await?;
            subscription.seek(position);
            subscription.joined = joined;
            self.rooms.insert(place, subscription);
        }
        Ok(())
    }

    pub fn remove(&mut self, room: RoomId) {
        if let Ok(place) = self.place(room) {
            self.rooms.remove(place).end(&self.mailbox);
        }
    }

    pub fn get_mut(&mut self, room: RoomId) -> Option<&mut RoomSubscription> {
        let place = self.place(room).ok()?;
        self.rooms.get_mut(place)
    }

    pub fn contains(&self, room: RoomId) -> bool {
        self.place(room).is_ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = &RoomSubscription> {
        self.rooms.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut RoomSubscription> {
        self.rooms.iter_mut()
    }

    /// The index of a room, or the one at which it would stand.
    fn place(&self, room: RoomId) -> std::result::Result<usize, usize> {
        self.rooms.binary_search_by_key(&room, RoomSubscription::room)
    }
}

impl Drop for RoomSubscriptions {
    fn drop(&mut self) {
        self.rooms.iter().for_each(|room| room.end(&self.mailbox));
    }
}

impl RoomSubscription {
    /// Starts at the live edge of a room. The caller [ends](Self::end) it.
    pub async fn start(hub: &Hub, mailbox: &Arc<Mailbox>, room: RoomId) -> Result<Self> {
        let feed = hub.feeds(&[room]).await?.pop().ok_or_else(|| Error::internal("the hub returned no feed"))?;
        Ok(Self::to_feed(feed, mailbox))
    }

    /// Ends the notifications of the mailbox.
    pub fn end(&self, mailbox: &Mailbox) {
        self.feed.unsubscribe(mailbox);
    }

    fn to_feed(feed: Arc<Feed>, mailbox: &Arc<Mailbox>) -> Self {
        // Before the edge is read, so that every later advance is notified.
        feed.subscribe(mailbox);
        let edge = feed.window().edge().unwrap_or(0);
        Self { feed, live_from: edge, position: edge, joined: 0, absent: false }
    }

    pub fn room(&self) -> RoomId {
        self.feed.room
    }

    /// The position of the last frame that was returned.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Moves to a position that the room has. The caller calls [`next`](Self::next) then, without waiting.
    pub fn seek(&mut self, position: i64) {
        self.position = position;
    }

    /// Learns that the room has a position, which the client may know from another replica.
    pub fn hint(&self, position: i64) {
        self.feed.hint(position);
    }

    /// The next frames. After an empty result the reader stands at the live edge and waits for a notification; otherwise there
    /// may be more frames.
    pub async fn next(&mut self) -> Result<Step> {
        let frames = match self.at_hand() {
            Next::Frames(frames) => frames,
            Next::InStore => {
                let edge = self.edge();
                // Boxed, because a stream has the room for this future as long as it is open.
                match Box::pin(self.feed.history().replay(self.feed.room, self.position, edge)).await? {
                    Replay::Frames(frames) => frames.into_iter().map(Arc::new).collect(),
                    Replay::Gap => {
                        self.position = edge;
                        return Ok(Step::Gap);
                    }
                }
            }
            Next::Nothing => Vec::new(),
        };
        if let Some(last) = frames.last() {
            self.position = last.position;
        }
        Ok(Step::Frames(frames))
    }

    fn edge(&self) -> i64 {
        self.feed.window().edge().unwrap_or(0)
    }

    fn at_hand(&self) -> Next {
        if self.position < self.live_from {
            return Next::InStore;
        }
        self.feed.window().after(self.position, MAX_FRAMES)
    }
}
