//! MySQL holds the rooms, MongoDB everything that happens in them.

mod epoch;
mod leavers;
mod legacy;
mod legacy_backfill;
mod legacy_deletions;
mod legacy_marks;
mod legacy_reads;
mod log;
mod membership_log;
mod messages;
mod outbox_collection;
mod positions;
mod read_markers;
mod retention;
mod room_limit;
mod room_settings;
mod rooms;
mod schema;
mod snapshots;

pub use epoch::{Beat, Epoch, EpochStore};
pub use leavers::LeavePeriod;
pub use legacy_backfill::LegacyBackfill;
pub use legacy_deletions::DELETION_LOGGED;
pub use log::{Entry, Head, LastMessage, Log, LogPosition};
pub use membership_log::{MembershipEvent, MembershipLog, MembershipRecord};
pub use messages::{ListCursor, Messages};
pub use outbox_collection::{OutboxCollection, OutboxEntry, OutboxEvent};
pub use positions::Positions;
pub use read_markers::{Extent, Read, ReadMarkers, ReadRequest, Written};
pub use retention::Retention;
pub use room_limit::RoomLimit;
pub use room_settings::MemberSettings;
pub use rooms::{Joined, OwnRoom, Rooms};
pub use schema::{HEADS, LOG, MESSAGES, REACTIONS, READS, prepare};
pub use snapshots::{SnapshotId, Snapshots};
