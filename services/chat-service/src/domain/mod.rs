//! Rooms and messages as rules: plain types and functions, no I/O.

mod actor;
mod message;
mod message_limit;
mod reaction;
mod read_marker;
mod room;
mod room_settings;

pub use actor::Actor;
pub use message::{Draft, EntryKind, Message, MessageChange, MessageType, readable};
pub use message_limit::MessageLimit;
pub use reaction::{Reaction, ReactionChange, UnlistedReactions, emoji};
pub use read_marker::{MAX_RANGES, PositionRange, ReadMarker};
pub use room::{
    DirectPair, MAX_MEMBERS, Room, RoomKind, RosterChange, distinct, group_name, joined_message, left_message, others,
    refuse_leavers, refuse_strangers, refuse_too_many_of_creator, refuse_too_many_rooms,
};
pub use room_settings::{RoomSetting, RoomSettings};
