//! Records that are sent, and records that were fetched.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use common::events::topics::TopicNames;
use common::events::{self, Event};
use platform::telemetry::Trace;
use platform::telemetry::trace::{REQUEST_ID, TRACEPARENT};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use uuid::Uuid;

use crate::error::Result;

/// The header of the reason of a dead letter: the error of the last attempt.
pub const REASON: &str = "x-dlq-reason";
/// The header of the time at which a record became a dead letter.
pub const AT: &str = "x-dlq-at";

/// A reason is cut at this length: it may have a long chain of causes, and brokers reject a record above 1 MB.
pub(super) const REASON_CHARS: usize = 1_000;

/// The longest payload of an undeliverable record's letter, in bytes: what is too large for its topic is too large there, too.
const UNDELIVERABLE_BYTES: usize = 10_000;

/// A record to send.
#[derive(Clone, Debug)]
pub struct Record {
    /// The name of the topic.
    pub topic: String,
    /// The key, which decides the partition.
    pub key: String,
    /// The value.
    pub payload: Bytes,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// The record of an event without a version, as of the message log. Events of MySQL go through the outbox.
    ///
    /// # Errors
    /// Returns an internal error if the event cannot be serialized.
    pub fn of<E: Event>(
        event: &E,
        topics: &TopicNames,
        event_id: Uuid,
        at: DateTime<Utc>,
        trace: &Trace,
    ) -> Result<Self> {
        Ok(Self {
            topic: topics.of(E::STREAM).to_owned(),
            key: event.key(),
            payload: events::encode(event_id, None, at, event)?.into(),
            headers: trace.headers(),
        })
    }

    /// The dead letter of a record that brokers do not accept in its own topic. It holds the beginning of the payload, and does
    /// not name the topic, so it cannot be replayed.
    pub(super) fn undeliverable(&self, reason: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((REASON.to_owned(), reason.chars().take(REASON_CHARS).collect()));
        headers.push((AT.to_owned(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)));
        let payload = self.payload.slice(..self.payload.len().min(UNDELIVERABLE_BYTES));
        Self { topic: TopicNames::dead_letters(&self.topic), key: self.key.clone(), payload, headers }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The headers, with this trace context in place of the record's own.
    pub(super) fn owned_headers(&self, traceparent: Option<&str>) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(headers, |headers, (key, value)| {
            let value = traceparent.filter(|_| key == TRACEPARENT).unwrap_or(value);
            headers.insert(Header { key, value: Some(value) })
        })
    }
}

/// A fetched record.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key; empty for a record without one.
    pub key: String,
    /// The value; empty for a record without one.
    pub payload: Bytes,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The time of the record, of the broker or the producer.
    pub at: DateTime<Utc>,
}

impl Fetched {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The request that caused the record.
    pub fn trace(&self) -> Trace {
        let header = |name| self.header(name).map(str::to_owned);
        Trace { request_id: header(REQUEST_ID), traceparent: header(TRACEPARENT) }
    }
}

impl From<&BorrowedMessage<'_>> for Fetched {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let at = message.timestamp().to_millis().and_then(DateTime::from_timestamp_millis);
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: text(message.key()),
            payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            headers: message.headers().map_or_else(Vec::new, |headers| {
                headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
            }),
            at: at.unwrap_or_else(Utc::now),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
