//! The outbox of messages and reads: a change and its event commit together, and the relay publishes the event to Kafka.

mod payload;
mod relay;

pub use payload::{of_message, of_read};
pub use relay::Relay;
