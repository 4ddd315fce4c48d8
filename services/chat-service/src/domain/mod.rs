//! Rooms and messages as rules: plain types and functions, no I/O.

mod message;
mod room;

pub use message::{Change, Draft, Kind, Message, MessageType, Reaction, readable};
pub use room::{DirectPair, Room};
