//! Rooms and messages as rules: plain types and functions, no I/O.

mod message;
mod room;

pub use message::{Change, Draft, Kind, Message, MessageType, Reacted, Reaction, emoji, readable};
pub use room::{DirectPair, Move, Room, RoomKind, others, said_of_leaver, said_of_newcomers};
