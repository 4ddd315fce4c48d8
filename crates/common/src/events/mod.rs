//! Events: the facts that one service tells the others, and the JSON in which they travel.
//!
//! On the wire an event is one flat object: its own fields, and around them what [`encode`] adds. What a consumer gets
//! is a [`Received`], which reads ours and those of the original. `docs/events.md` lists every type with an example.

pub mod chat;
pub mod friend;
mod received;
pub mod user;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::{Error, Result};

pub use received::Received;

/// A fact of one kind.
pub trait Event: Serialize + DeserializeOwned + Send + Sync {
    /// The name on the wire, the class name of the original.
    const TYPE: &'static str;

    const STREAM: Stream;

    /// Events of one key keep their order.
    fn key(&self) -> String;
}

/// The topic of an event; its name is configuration ([`TopicNames`](crate::kafka::topics::TopicNames)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    UserEvents,
    UserOnlineStatus,
    FriendEvents,
    MessageEvents,
    ChatEvents,
}

/// Goes up when a field changes its meaning; a new field is no new schema.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Envelope<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    timestamp: String,
    event_type: &'static str,
    /// The original's consumers read only this one.
    __event_type__: &'static str,
    event_id: Uuid,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// The record's value. `version` is the outbox id of events fed from MySQL; `message.events` are ordered by position.
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

/// The version of an encoded event is known only once its row has an id, so it is added to the text.
pub(crate) fn with_version(mut payload: String, version: u64) -> String {
    payload.pop();
    payload + &format!(",\"version\":{version}}}")
}

/// Names the type on the wire after the Rust type, so that the two cannot part.
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
