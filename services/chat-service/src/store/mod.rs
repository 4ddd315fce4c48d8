//! MySQL holds the rooms, MongoDB everything that happens in them.

mod adoption;
mod log;
mod marks;
mod messages;
mod rooms;
mod schema;
pub mod time;
mod unsent;

pub use adoption::Adoption;
pub use log::{Entry, Head, Last, Log, Place};
pub use marks::{Mark, Marks, Read};
pub use messages::{Cursor, Messages};
pub use rooms::Rooms;
pub use schema::{HEADS, LOG, MESSAGES, READS, prepare};
pub use unsent::{Pending, Unsent, UnsentEvents};
