//! The JSON bodies that clients receive: messages in answers, and frames on streams.

pub mod frame;
mod message;

pub use frame::Frame;
pub use message::MessageBody;
