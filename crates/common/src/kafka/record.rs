//! A record as it is sent, and as it is fetched.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use uuid::Uuid;

use crate::error::Result;
use crate::events::{self, Event};
use crate::kafka::topics::TopicNames;
use crate::telemetry::trace::TRACEPARENT;

pub use crate::telemetry::Trace;

pub const REQUEST_ID: &str = "x-request-id";

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: String,
    pub key: String,
    pub payload: Bytes,
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// An event of a store that numbers nothing, as the message log; MySQL's go through the outbox.
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

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The headers, with this trace context in the place of the record's own.
    pub(super) fn owned_headers(&self, traceparent: Option<&str>) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(headers, |headers, (key, value)| {
            let value = traceparent.filter(|_| key == TRACEPARENT).unwrap_or(value);
            headers.insert(Header { key, value: Some(value) })
        })
    }
}

impl Trace {
    pub fn headers(&self) -> Vec<(String, String)> {
        let named = [(REQUEST_ID, &self.request_id), (TRACEPARENT, &self.traceparent)];
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Empty where there is none.
    pub key: String,
    pub payload: Bytes,
    pub headers: Vec<(String, String)>,
    /// The broker's or the producer's time of the record.
    pub at: DateTime<Utc>,
}

impl Fetched {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

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
