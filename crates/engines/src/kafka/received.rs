//! Received events, this system's and the original's.

use chrono::{DateTime, Utc};
use common::error::{Error, json_problem};
use common::events::Event;
use common::time;
use serde::Deserialize;
use uuid::Uuid;

use crate::kafka::record::Fetched;

/// The fields that all events have, read before the type is known.
#[derive(Clone, Debug)]
pub struct Received {
    /// The type of the event.
    pub event_type: String,
    /// The id of the event; absent in the original's events.
    pub event_id: Option<Uuid>,
    /// Grows per key; 0 in the original's events and on `message.events`.
    pub version: u64,
    /// When the event happened.
    pub timestamp: DateTime<Utc>,
    /// The record of the event.
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
    /// Reads the fields that all events have.
    ///
    /// # Errors
    /// Returns the record with a reason if it is no event. An event of an unknown type is no error.
    pub fn read(record: Fetched) -> Result<Self, Box<Malformed>> {
        match Head::read(&record) {
            Ok((event_type, event_id, version, timestamp)) => {
                Ok(Self { event_type, event_id, version, timestamp, record })
            }
            Err(reason) => Err(Box::new(Malformed { reason, record })),
        }
    }

    /// Whether the event has this type.
    pub fn is<E: Event>(&self) -> bool {
        self.event_type == E::TYPE
    }

    /// The event as this type.
    ///
    /// # Errors
    /// Returns an internal error if it has another type or its fields cannot be read.
    pub fn decode<E: Event>(&self) -> Result<E, Error> {
        if !self.is::<E>() {
            return Err(Error::internal(format!("{} is not {}", self.event_type, E::TYPE)));
        }
        serde_json::from_slice(&self.record.payload).map_err(|e| Error::internal(json_problem(&e)))
    }

    /// The key of the record.
    pub fn key(&self) -> &str {
        &self.record.key
    }
}

impl Head {
    fn read(record: &Fetched) -> Result<(String, Option<Uuid>, u64, DateTime<Utc>), String> {
        let head: Self =
            serde_json::from_slice(&record.payload).map_err(|e| format!("not an event: {}", json_problem(&e)))?;
        let event_type = head.event_type.or(head.__event_type__).ok_or("no event_type")?;
        let timestamp = match head.timestamp {
            Some(text) => time::parse(&text).map_err(|_| "its timestamp is no time")?,
            None => record.at,
        };
        Ok((event_type, head.event_id, head.version, timestamp))
    }
}

/// A record that is no event.
#[derive(Debug)]
pub struct Malformed {
    /// The reason, for the dead letter and the log, without values of the record.
    pub reason: String,
    /// The record.
    pub record: Fetched,
}

#[cfg(test)]
mod tests;
