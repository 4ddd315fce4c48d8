//! MySQL holds the rooms, MongoDB everything that happens in them.

mod adoption;
mod changes;
mod log;
mod marks;
mod messages;
mod rooms;
mod schema;
mod snapshots;
pub mod time;
mod unsent;

pub use adoption::Adoption;
pub use changes::{Change, Changes, What};
pub use log::{Entry, Head, Last, Log, Place};
pub use marks::{Mark, Marks, Read};
pub use messages::{Cursor, Messages};
pub use rooms::{Actor, Joined, Own, Rooms};
pub use schema::{HEADS, LOG, MESSAGES, READS, prepare};
pub use snapshots::{Positions, SnapshotId, Snapshots};
pub use unsent::{Pending, Unsent, UnsentEvents};
