//! A reader of server-sent events.

use std::pin::Pin;
use std::time::Duration;

use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::PATIENCE;

type Events = Pin<Box<dyn Stream<Item = Result<eventsource_stream::Event, EventStreamError<reqwest::Error>>> + Send>>;

/// An open stream.
pub struct Sse(Events);

/// A server-sent event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name.
    pub name: String,
    /// The id; empty for an event without one.
    pub id: String,
    /// The JSON data; null for data that is not JSON.
    pub data: Value,
}

impl Event {
    /// The position in the id of an event of a room's stream, without the epoch of the store.
    ///
    /// # Panics
    /// Panics if the id has another form.
    pub fn position(&self) -> i64 {
        let (position, epoch) = self.id.split_once('.').unwrap_or_else(|| panic!("{:?} has no epoch", self.id));
        assert_eq!(epoch.len(), 8, "{:?}", self.id);
        position.parse().unwrap()
    }
}

impl Sse {
    /// Reads the body of a response.
    pub fn new(response: reqwest::Response) -> Self {
        Self(Box::pin(response.bytes_stream().eventsource()))
    }

    /// The next event.
    ///
    /// # Panics
    /// Panics if the stream ends or no event comes within [`PATIENCE`].
    pub async fn next(&mut self) -> Event {
        self.try_next().await.expect("the stream ended")
    }

    /// The next event; none after the end of the stream.
    ///
    /// # Panics
    /// Panics if no event comes within [`PATIENCE`].
    pub async fn try_next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        let event = next.unwrap_or_else(|_| panic!("no event in {PATIENCE:?}"))?.ok()?;
        Some(Event { name: event.event, id: event.id, data: serde_json::from_str(&event.data).unwrap_or_default() })
    }

    /// The next event, if one comes in time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Event> {
        tokio::time::timeout(time, self.try_next()).await.ok()?
    }

    /// The next event with this name. Others are skipped.
    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event;
            }
        }
    }

    /// Whether no event comes for a while.
    pub async fn quiet_for(&mut self, while_: Duration) -> bool {
        tokio::time::timeout(while_, self.0.next()).await.is_err()
    }
}
