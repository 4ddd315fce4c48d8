//! One reader of one room: a position that moves.

use std::sync::Arc;

use axum::response::sse::Event;
use common::error::Result;
use common::id::RoomId;
use tokio::sync::{broadcast, watch};

use super::hub::{Feed, Hub};
use super::window::Next;

/// Frames taken at once; more wait in the window, which all readers share.
const AT_ONCE: usize = 32;

/// Reads a room from some position on, exactly once and in order.
pub struct Subscriber {
    hub: Hub,
    feed: Arc<Feed>,
    edge: watch::Receiver<i64>,
    passing: broadcast::Receiver<Event>,
    /// Where the room stood at the start. What came before is replayed from the store, in its latest state: the window
    /// may still hold the text of what was deleted meanwhile.
    live_from: i64,
    position: i64,
}

impl Subscriber {
    /// Begins after `since`, or at the live edge. `Err` holds the reader that begins at the edge because `since` is no
    /// position of the room.
    pub async fn start(
        hub: &Hub,
        room: RoomId,
        since: Option<&str>,
    ) -> Result<Result<Self, Self>, common::error::Error> {
        let feed = hub.feed(room).await?;
        let (edge, passing) = (feed.watch(), feed.listen());
        let stands_at = feed.window().edge().unwrap_or(0);
        let mut subscriber = Self { hub: hub.clone(), feed, edge, passing, live_from: stands_at, position: stands_at };
        let Some(since) = since else { return Ok(Ok(subscriber)) };
        Ok(match subscriber.valid(since).await? {
            Some(position) => {
                subscriber.position = position;
                Ok(subscriber)
            }
            None => Err(subscriber),
        })
    }

    /// The position that a client names, if the room has it.
    async fn valid(&self, since: &str) -> Result<Option<i64>> {
        let Some(position) = since.parse().ok().filter(|position: &i64| *position >= 0) else { return Ok(None) };
        if position <= self.position {
            return Ok(Some(position));
        }
        // Another replica may have told the client of it before we heard.
        let stands_at = self.hub.position(self.feed.room).await?;
        self.feed.hint(stands_at);
        Ok((position <= stands_at).then_some(position))
    }

    /// Where the reader stands.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// What comes next, as soon as it is there.
    ///
    /// Dropped while it waits, nothing is lost: the position moves only with what is returned.
    pub async fn next(&mut self) -> Result<Vec<Event>> {
        loop {
            self.edge.borrow_and_update();
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
                return Ok(frames.iter().map(|frame| frame.event.clone()).collect());
            }
            tokio::select! {
                _ = self.edge.changed() => {}
                passing = self.passing.recv() => if let Ok(event) = passing {
                    return Ok(vec![event]);
                },
            }
        }
    }

    fn at_hand(&self) -> Next {
        if self.position < self.live_from {
            return Next::InStore;
        }
        self.feed.window().after(self.position, AT_ONCE)
    }
}
