//! A room on one stream: a position that advances.

use std::sync::Arc;

use common::error::Result;
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

/// Reads a room from a position on, exactly once and in order.
pub struct RoomSubscription {
    hub: Hub,
    feed: Arc<Feed>,
    mailbox: Arc<Mailbox>,
    /// The room's position at the start. Earlier entries are replayed from the store, in their latest state: the window may
    /// still hold the content of a message that was deleted since.
    live_from: i64,
    position: i64,
}

impl RoomSubscription {
    /// Starts at the live edge of each room, in one round trip.
    pub async fn start(hub: &Hub, rooms: &[RoomId], mailbox: &Arc<Mailbox>) -> Result<Vec<Self>> {
        let feeds = hub.feeds(rooms).await?;
        Ok(feeds.into_iter().map(|feed| Self::to_feed(hub, feed, mailbox)).collect())
    }

    fn to_feed(hub: &Hub, feed: Arc<Feed>, mailbox: &Arc<Mailbox>) -> Self {
        // Before the edge is read, so that every later advance is notified.
        feed.subscribe(mailbox);
        let edge = feed.window().edge().unwrap_or(0);
        Self { hub: hub.clone(), feed, mailbox: mailbox.clone(), live_from: edge, position: edge }
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
                match self.hub.history().replay(self.feed.room, self.position, edge).await? {
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

impl Drop for RoomSubscription {
    fn drop(&mut self) {
        self.feed.unsubscribe(&self.mailbox);
    }
}
