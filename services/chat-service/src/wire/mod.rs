//! The JSON bodies that clients receive: messages in answers, and frames on streams.

pub mod frame;
mod message;
mod payload;

pub use frame::Frame;
pub use message::MessageBody;
pub use payload::{RoomSettingsBody, StreamEvent};
