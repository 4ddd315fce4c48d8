//! MySQL: relationships, and the names of users from events.

mod blocks;
mod friendships;
mod merged;
mod names;
mod pairs;
mod senders;

pub use blocks::{Block, Blocks};
pub use friendships::{Friend, Friendship, Friendships, PartyNames, Request};
pub use merged::log_merged;
pub use names::{Name, Names};
pub use pairs::Pairs;
