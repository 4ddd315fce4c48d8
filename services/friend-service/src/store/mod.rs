//! MySQL: what lies between people, and the names that events told.

mod blocks;
mod friendships;
mod merged;
mod names;
mod pairs;

pub use blocks::{Block, Blocks};
pub use friendships::{Friend, Friendship, Friendships, Parties};
pub use merged::tell_of_merged;
pub use names::{Names, Told};
pub use pairs::Pairs;
