//! The hub: the feeds of all rooms that have subscribers on this replica.

use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use common::error::Result;
use common::events::chat::{
    MessageDeleted, MessageEdited, MessageFileChecked, MessageSent, MessagesRead, ReactionChanged,
};
use common::id::RoomId;
use engines::kafka::received::Received;
use platform::task::every;
use platform::telemetry::trace;
use prometheus::Histogram;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::feed::{Feed, Feeds};
use super::history::History;
use super::read_frames::ReadFrames;
use super::window_memory::WindowMemory;
use crate::domain::{Message, MessageType};
use crate::store::{Entry, HeadChanges, Log, Messages};
use crate::wire::Frame;

/// Interval at which the changes of heads are read for positions that no event announced.
const HEADS_INTERVAL: Duration = Duration::from_secs(2);

/// A handle on the hub.
#[derive(Clone)]
pub struct Hub {
    feeds: Arc<Feeds>,
    read_frames: Arc<ReadFrames>,
}

impl Hub {
    /// `delays` observes the time from the arrival of a message until subscribers can read it.
    /// `window_bytes` bounds the memory of all windows.
    pub fn new(log: Log, messages: Messages, delays: Histogram, window_bytes: u64) -> Self {
        let memory = WindowMemory::new(usize::try_from(window_bytes).unwrap_or(usize::MAX));
        let feeds = Arc::new(Feeds::new(History::new(log, messages), delays, memory));
        Self { feeds, read_frames: Arc::default() }
    }

    /// The number of rooms with subscribers.
    pub fn room_count(&self) -> usize {
        self.feeds.room_count()
    }

    /// The memory of all windows in bytes.
    pub fn window_bytes(&self) -> usize {
        self.feeds.memory.total()
    }

    pub fn history(&self) -> &History {
        &self.feeds.history
    }

    /// Forgets all feeds, whose windows show an older state of the store.
    pub fn forget_feeds(&self) {
        self.feeds.clear();
    }

    /// The started feeds of rooms. Takes one round trip, and none for rooms with subscribers.
    pub async fn feeds(&self, rooms: &[RoomId]) -> Result<Vec<Arc<Feed>>> {
        let feeds: Vec<Arc<Feed>> = rooms.iter().map(|room| self.feeds.get_or_create(*room)).collect();
        let new: Vec<RoomId> = feeds.iter().filter(|feed| !feed.is_started()).map(|feed| feed.room).collect();
        // New feeds take frames already, so no frame is lost between the read of the head and the start.
        let positions = self.history().positions(&new).await?;
        for feed in feeds.iter().filter(|feed| !feed.is_started()) {
            feed.start(positions.get(&feed.room).copied().unwrap_or(0));
        }
        Ok(feeds)
    }

    /// The feed of a room without entries, which no store is asked for.
    #[cfg(test)]
    pub fn start_feed(&self, room: RoomId) -> Arc<Feed> {
        let feed = self.feeds.get_or_create(room);
        feed.start(0);
        feed
    }

    /// Takes an entry that the writer of this replica has committed.
    pub fn offer(&self, entry: &Entry, message: &Message) {
        if let Some(feed) = self.feeds.get(entry.id.room) {
            let _span = span(entry.event.as_ref().and_then(|event| event.traceparent.as_deref()));
            feed.offer(Frame::of_entry(entry, message));
        }
    }

    /// Learns that a position exists.
    pub fn hint(&self, room: RoomId, position: i64) {
        if let Some(feed) = self.feeds.get(room) {
            feed.hint(position);
        }
    }

    /// Sends a read to the subscribers of its room, once, whether it comes from this replica or from Kafka.
    pub fn broadcast_read(&self, read: MessagesRead, event_id: Option<Uuid>, at: DateTime<Utc>) {
        if let Some(feed) = self.feeds.get(read.room_id) {
            // The read proves that the position exists.
            feed.hint(read.up_to.unwrap_or(0));
            if feed.is_new(event_id) {
                self.read_frames.send(&self.feeds, read, at);
            }
        }
    }

    /// Sends an event that is never stored to the subscribers of a room.
    pub fn broadcast(&self, room: RoomId, event: Event) {
        if let Some(feed) = self.feeds.get(room) {
            feed.broadcast(|| event);
        }
    }

    /// Follows the changes of heads until the shutdown. Without Kafka, streams advance by this alone.
    pub async fn watch_heads(self, stopping: CancellationToken) {
        every(HEADS_INTERVAL, "heads", &stopping, &mut (self, None), async |(hub, changes)| {
            hub.read_heads(changes).await
        })
        .await;
    }

    /// Learns the positions that were taken since the last call. Reads the heads of all rooms with subscribers only if the
    /// changes cannot be followed, and those of new feeds.
    async fn read_heads(&self, changes: &mut Option<HeadChanges>) -> Result<()> {
        self.feeds.retry_repairs();
        // Taken out, so that an error leaves none behind.
        let mut following = match changes.take() {
            Some(following) => following,
            None => {
                let following = self.history().head_changes().await?;
                self.feeds.unsettle_all();
                following
            }
        };
        let positions = following.since_last().await?;
        positions.into_iter().for_each(|(room, position)| self.hint(room, position));
        let positions = self.history().positions(&self.feeds.unsettled()).await?;
        positions.into_iter().for_each(|(room, position)| self.hint(room, position));
        *changes = Some(following);
        Ok(())
    }

    /// The rooms with subscribers.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.feeds.rooms()
    }

    /// Whether a stream of this replica reads the room.
    pub fn has_subscribers(&self, room: RoomId) -> bool {
        self.feeds.get(room).is_some()
    }

    /// Takes an event of `message.events`, from another replica or a repeat from this one. Returns the room if the event has
    /// no position: an original has written to the room.
    pub fn receive(&self, event: &Received) -> Result<Option<RoomId>> {
        let Ok(room) = event.key().parse() else { return Ok(None) };
        let Some(feed) = self.feeds.get(room) else { return Ok(event.event_id.is_none().then_some(room)) };
        let mut has_position = event.event_id.is_some();
        if event.is::<MessageSent>() {
            let sent: MessageSent = event.decode()?;
            has_position = sent.position > 0;
            // Events of system messages lack the change of members. Events of the original have no position.
            if sent.message_type == MessageType::System.as_str() {
                feed.hint(sent.position);
            } else if sent.position > 0 {
                let _span = span(event.record.header(trace::TRACEPARENT));
                feed.offer(Frame::of_event(&sent, event.timestamp));
            }
        } else if event.is::<MessagesRead>() {
            self.broadcast_read(event.decode()?, event.event_id, event.timestamp);
        } else if event.is::<MessageEdited>() {
            // Frames of changes show the message in its latest state, which only the store has.
            feed.hint(event.decode::<MessageEdited>()?.position);
        } else if event.is::<MessageFileChecked>() {
            feed.hint(event.decode::<MessageFileChecked>()?.position);
        } else if event.is::<MessageDeleted>() {
            let deleted: MessageDeleted = event.decode()?;
            has_position = deleted.position > 0;
            feed.hint(deleted.position);
        } else if event.is::<ReactionChanged>() {
            feed.hint(event.decode::<ReactionChanged>()?.position);
        }
        Ok((!has_position).then_some(room))
    }
}

/// The span of a fan-out, in the trace of its message.
fn span(traceparent: Option<&str>) -> Span {
    trace::follow(tracing::info_span!(target: trace::TARGET, parent: None, "fan out"), traceparent)
}
