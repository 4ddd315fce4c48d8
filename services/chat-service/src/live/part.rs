//! One room on one stream: a position that moves.

use std::sync::Arc;

use common::error::Result;
use common::id::RoomId;

use super::frame::Frame;
use super::hub::{Feed, Hub};
use super::mailbox::Mailbox;
use super::window::Next;

/// Frames taken at once; more wait in the window, which all readers share.
const AT_ONCE: usize = 32;

/// Reads a room from some position on, exactly once and in order.
pub struct Part {
    hub: Hub,
    feed: Arc<Feed>,
    mailbox: Arc<Mailbox>,
    /// Where the room stood at the start. What came before is replayed from the store, in its latest state: the window
    /// may still hold the text of what was deleted meanwhile.
    live_from: i64,
    position: i64,
}

impl Part {
    /// Begins at the live edge.
    pub async fn start(hub: &Hub, room: RoomId, mailbox: &Arc<Mailbox>) -> Result<Option<Self>> {
        Ok(Self::start_all(hub, &[room], mailbox).await?.pop())
    }

    /// Begins at the live edge of each room: one round trip.
    pub async fn start_all(hub: &Hub, rooms: &[RoomId], mailbox: &Arc<Mailbox>) -> Result<Vec<Self>> {
        let feeds = hub.feeds(rooms).await?;
        Ok(feeds.into_iter().map(|feed| Self::of(hub, feed, mailbox)).collect())
    }

    fn of(hub: &Hub, feed: Arc<Feed>, mailbox: &Arc<Mailbox>) -> Self {
        feed.listen(mailbox);
        let stands_at = feed.window().edge().unwrap_or(0);
        let (hub, mailbox) = (hub.clone(), mailbox.clone());
        Self { hub, feed, mailbox, live_from: stands_at, position: stands_at }
    }

    pub fn room(&self) -> RoomId {
        self.feed.room
    }

    /// Where the reader stands.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Goes to a position that the room has.
    pub fn go_to(&mut self, position: i64) {
        self.position = position;
        self.mailbox.moved(self.feed.room);
    }

    /// Learns that the room has a position: another replica may have told a client of it before we heard.
    pub fn hint(&self, position: i64) {
        self.feed.hint(position);
    }

    /// What comes next, as much as there is at hand; nothing at the live edge.
    pub async fn next(&mut self) -> Result<Vec<Arc<Frame>>> {
        let frames = match self.at_hand() {
            Next::Frames(frames) => frames,
            Next::InStore => {
                let replayed = self.hub.replay(self.feed.room, self.position).await?;
                replayed.into_iter().map(Arc::new).collect()
            }
            Next::Nothing => Vec::new(),
        };
        if let Some(last) = frames.last() {
            self.position = last.position;
            // There may be more of them.
            self.mailbox.moved(self.feed.room);
        }
        Ok(frames)
    }

    fn at_hand(&self) -> Next {
        if self.position < self.live_from {
            return Next::InStore;
        }
        self.feed.window().after(self.position, AT_ONCE)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.feed.leave(&self.mailbox);
    }
}
