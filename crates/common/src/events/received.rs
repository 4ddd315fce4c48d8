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
    pub fn read(record: Fetched) -> Result<Self, Box<Malformed>> {
        match Head::read(&record) {
            Ok((event_type, event_id, version, timestamp)) => {
                Ok(Self { event_type, event_id, version, timestamp, record })
            }
            Err(reason) => Err(Box::new(Malformed { reason, record })),
        }
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

impl Head {
    fn read(record: &Fetched) -> Result<(String, Option<Uuid>, u64, DateTime<Utc>), String> {
        let head: Self = serde_json::from_slice(&record.payload).map_err(|e| format!("not an event: {e}"))?;
        let event_type = head.event_type.or(head.__event_type__).ok_or("no event_type")?;
        let timestamp = match head.timestamp {
            Some(text) => read_time(&text).ok_or_else(|| format!("no time: {text}"))?,
            None => record.at,
        };
        Ok((event_type, head.event_id, head.version, timestamp))
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
