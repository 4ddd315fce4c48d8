//! Rooms and messages as rules: plain types and functions, no I/O.

mod actor;
mod checked_file;
mod file;
mod message;
mod message_limit;
mod reaction;
mod read_marker;
mod room;
mod room_settings;
mod upload;

pub use actor::Actor;
pub use checked_file::{CheckedFile, FileState, Picture, THUMBNAILS};
pub use file::{DownloadHeaders, FileLimits, FileName, FileType, allow_file_in};
pub use message::{Draft, EntryKind, Message, MessageChange, MessageType, readable};
pub use message_limit::MessageLimit;
pub use reaction::{Reaction, ReactionChange, UnlistedReactions, emoji};
pub use read_marker::{MAX_RANGES, PositionRange, ReadMarker};
pub use room::{
    DirectPair, MAX_MEMBERS, Room, RoomKind, RosterChange, distinct, group_name, joined_message, left_message, others,
    refuse_leavers, refuse_strangers, refuse_too_many_of_creator, refuse_too_many_rooms,
};
pub use room_settings::{RoomSetting, RoomSettings};
pub use upload::{
    Checksum, FILE_PREFIX, MAX_COPIES, MAX_PARTS, NewFile, STORE_PARTS_SECONDS, STORE_SECONDS, UPLOAD_PREFIX, Upload,
    UploadState, already_sent, changed, incomplete, key_of_message, key_of_thumbnail, not_found, not_ready, rejected,
    tried_too_often,
};
