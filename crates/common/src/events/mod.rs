//! Events: the facts that one service publishes for the others, and their JSON form.
//!
//! On the wire an event is one flat object: its own fields and the common fields that [`encode`] adds. `docs/events.md`
//! lists every type with an example. The crate `engines` reads received events, this system's and the original's.

pub mod chat;
pub mod friend;
pub mod notification;
pub mod topics;
pub mod user;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::{Error, Result};

/// A type of event.
pub trait Event: Serialize + DeserializeOwned + Send + Sync {
    /// The value of `event_type` on the wire, the class name of the original.
    const TYPE: &'static str;

    /// The stream that carries the type.
    const STREAM: Stream;

    /// The key of the Kafka record. Events of one key keep their order.
    fn key(&self) -> String;
}

/// A stream of events. [`TopicNames`](topics::TopicNames) maps it to the name of a Kafka topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Registrations and profiles.
    UserEvents,
    /// Presence.
    UserOnlineStatus,
    /// Friendships and blocks.
    FriendEvents,
    /// The logs of the rooms and read receipts.
    MessageEvents,
    /// Rooms and memberships.
    ChatEvents,
    /// Notices to the owners of accounts.
    NotificationEvents,
}

/// The version of the schemas. It grows when a field changes its meaning, not when a field is added.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Envelope<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    timestamp: String,
    event_type: &'static str,
    /// The original's consumers read only this field.
    __event_type__: &'static str,
    event_id: Uuid,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// Encodes an event as the value of a Kafka record.
///
/// `version` is the outbox id of an event from MySQL; `message.events` are ordered by their position and have none.
///
/// # Errors
/// Returns an internal error if the event cannot be serialized.
pub fn encode<E: Event>(event_id: Uuid, version: Option<u64>, at: DateTime<Utc>, event: &E) -> Result<Vec<u8>> {
    let envelope = Envelope {
        event,
        timestamp: at.to_rfc3339_opts(SecondsFormat::Micros, true),
        event_type: E::TYPE,
        __event_type__: E::TYPE,
        event_id,
        schema_version: SCHEMA_VERSION,
        version,
    };
    serde_json::to_vec(&envelope).map_err(Error::internal)
}

/// Adds the version to an event that was encoded without one, because the outbox assigns it only when it stores the
/// event.
pub fn with_version(mut payload: String, version: u64) -> String {
    payload.pop();
    payload + &format!(",\"version\":{version}}}")
}

/// Implements [`Event`] with the name of the Rust type as the type on the wire.
macro_rules! event {
    ($event:ident, $stream:ident, $key:expr) => {
        impl crate::events::Event for $event {
            const TYPE: &'static str = stringify!($event);
            const STREAM: crate::events::Stream = crate::events::Stream::$stream;

            fn key(&self) -> String {
                fn key<K: ToString>(event: &$event, of: impl Fn(&$event) -> K) -> String {
                    of(event).to_string()
                }
                key(self, $key)
            }
        }
    };
}
use event;

#[cfg(test)]
mod tests;
