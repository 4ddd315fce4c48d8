//! MySQL holds the rooms, MongoDB everything that happens in them.

mod adoption;
mod log;
mod marks;
mod messages;
mod rooms;
mod schema;
pub mod time;

pub use adoption::Adoption;
pub use log::{Entry, Head, Last, Log, Pending, Place};
pub use marks::Marks;
pub use messages::{Cursor, Messages};
pub use rooms::Rooms;
pub use schema::{HEADS, LOG, MESSAGES, prepare};
