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

/// One event: its name, its id (empty where it has none) and its data.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Sse {
    pub fn new(response: reqwest::Response) -> Self {
        Self(Box::pin(response.bytes_stream().eventsource()))
    }

    /// The next event; panics when none comes.
    pub async fn next(&mut self) -> Event {
        self.try_next().await.expect("the stream ended")
    }

    /// The next event, or nothing when the stream has ended.
    pub async fn try_next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        let event = next.unwrap_or_else(|_| panic!("no event in {PATIENCE:?}"))?.ok()?;
        Some(Event { name: event.event, id: event.id, data: serde_json::from_str(&event.data).unwrap_or_default() })
    }

    /// The next event, if one comes in time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Event> {
        tokio::time::timeout(time, self.try_next()).await.ok()?
    }

    /// The next event of this name; others are passed over.
    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event;
            }
        }
    }

    /// Whether nothing comes for a while.
    pub async fn quiet_for(&mut self, while_: Duration) -> bool {
        tokio::time::timeout(while_, self.0.next()).await.is_err()
    }
}
