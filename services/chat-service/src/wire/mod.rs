//! The JSON bodies that clients receive: messages and rooms in answers, and frames on streams.

pub mod examples;
pub mod frame;
mod message;
mod payload;
mod room;

pub use frame::Frame;
pub use message::MessageBody;
pub use payload::{RoomSettingsBody, StreamEvent};
pub use room::RoomBody;
