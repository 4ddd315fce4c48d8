//! An event as a consumer gets it, from ours or from the original.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::Event;
use crate::kafka::record::Fetched;

/// What every event has, read before anything is known of its type.
#[derive(Clone, Debug)]
pub struct Received {
    pub event_type: String,
    /// Absent in the original's.
    pub event_id: Option<Uuid>,
    /// Grows per key; 0 in the original's and on `message.events`.
    pub version: u64,
    pub timestamp: DateTime<Utc>,
    /// The record it came in: key, payload, headers, topic, partition and offset.
    pub record: Fetched,
}

#[derive(Deserialize)]
struct Head {
    event_type: Option<String>,
    __event_type__: Option<String>,
    event_id: Option<Uuid>,
    #[serde(default)]
    version: u64,
    timestamp: Option<String>,
}

impl Received {
    /// Fails for what is no event at all; an unknown type is none of its business.
    pub fn read(record: Fetched) -> Result<Self, Malformed> {
        let malformed = |reason: String, record| Err(Malformed { reason, record });
        let head: Head = match serde_json::from_slice(&record.payload) {
            Ok(head) => head,
            Err(e) => return malformed(format!("not an event: {e}"), record),
        };
        let Some(event_type) = head.event_type.or(head.__event_type__) else {
            return malformed("no event_type".to_owned(), record);
        };
        let timestamp = match head.timestamp.as_deref().map(read_time) {
            Some(Some(timestamp)) => timestamp,
            Some(None) => return malformed("unreadable timestamp".to_owned(), record),
            None => record.at,
        };
        Ok(Self { event_type, event_id: head.event_id, version: head.version, timestamp, record })
    }

    pub fn is<E: Event>(&self) -> bool {
        self.event_type == E::TYPE
    }

    pub fn decode<E: Event>(&self) -> Result<E> {
        if !self.is::<E>() {
            return Err(Error::internal(format!("{} is no {}", self.event_type, E::TYPE)));
        }
        serde_json::from_slice(&self.record.payload).map_err(Error::internal)
    }

    pub fn key(&self) -> &str {
        &self.record.key
    }
}

/// A record that no consumer can read, and why.
#[derive(Debug)]
pub struct Malformed {
    pub reason: String,
    pub record: Fetched,
}

/// The original names no zone and means UTC.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc())
}
