//! A live stream of events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventsource_stream::{Event, Eventsource};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::time::timeout;

use super::person::Person;
use super::response::id;

/// Far more than an event takes if every process is ready.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

pub struct EventStream {
    events: BoxStream<'static, Result<Event>>,
}

impl EventStream {
    pub async fn open(person: &Person, room: i64) -> Result<Self> {
        let response = person.open(&format!("/api/messages/stream/{room}")).await?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        ensure!(kind.starts_with("text/event-stream"), "not an event stream: {kind}");
        let events = response.bytes_stream().eventsource().map(|event| Ok(event?)).boxed();
        let mut stream = Self { events };
        let connected = stream.next("connected").await?;
        ensure!(id(&connected, "room_id")? == room && id(&connected, "user_id")? == person.id, "{connected}");
        ensure!(connected["message"] == format!("Connected to room {room}"), "{connected}");
        Ok(stream)
    }

    /// The data of the next event, which must be of this kind and have an id.
    pub async fn next(&mut self, kind: &str) -> Result<Value> {
        let next = timeout(EVENT_TIMEOUT, self.events.next()).await;
        let event = next.with_context(|| format!("no {kind} arrived"))?.context("the stream ended")??;
        ensure!(event.event == kind, "{} arrived, not {kind}: {}", event.event, event.data);
        ensure!(!event.id.is_empty(), "{kind} has no id");
        Ok(serde_json::from_str(&event.data)?)
    }
}
