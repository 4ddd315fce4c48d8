//! The JSON bodies that clients receive: messages and rooms in answers, and frames on streams.

pub mod examples;
pub mod frame;
mod listed;
mod message;
mod payload;
mod room;

pub use frame::Frame;
pub use listed::ListedMessage;
pub use message::MessageBody;
pub use payload::{RoomSettingsBody, StreamEvent};
pub use room::RoomBody;
