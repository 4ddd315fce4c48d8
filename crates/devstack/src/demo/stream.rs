//! A live stream, as a client reads it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventsource_stream::{Event, Eventsource};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::time::timeout;

use super::person::{Person, id};

/// Far more than an event takes, with every process up.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Stream {
    events: BoxStream<'static, Result<Event>>,
}

impl Stream {
    pub async fn open(person: &Person, room: i64) -> Result<Self> {
        let answer = person.open(&format!("/api/messages/stream/{room}")).await?;
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        ensure!(kind.starts_with("text/event-stream"), "no event stream but {kind}");
        let events = answer.bytes_stream().eventsource().map(|event| Ok(event?)).boxed();
        let mut stream = Self { events };
        let connected = stream.next("connected").await?;
        ensure!(id(&connected, "room_id")? == room && id(&connected, "user_id")? == person.id, "{connected}");
        ensure!(connected["message"] == format!("Connected to room {room}"), "{connected}");
        Ok(stream)
    }

    /// The next event, which must be of this kind and have an id.
    pub async fn next(&mut self, kind: &str) -> Result<Value> {
        let next = timeout(PATIENCE, self.events.next()).await;
        let event = next.with_context(|| format!("no {kind} came"))?.context("the stream ended")??;
        ensure!(event.event == kind, "{} came, not {kind}: {}", event.event, event.data);
        ensure!(!event.id.is_empty(), "{kind} has no id");
        Ok(serde_json::from_str(&event.data)?)
    }
}
