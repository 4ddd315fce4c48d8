//! Load: when acts start, and what is recorded of them.

mod client;
mod closed;
mod open;
mod recorder;
mod schedule;

pub use client::{as_client, client};
pub use closed::closed;
pub use open::open;
pub use recorder::{Interval, Recorded, Recorder, Row};
pub use schedule::Schedule;

use std::time::Duration;

/// The time for which acts that have started may end after the end of a measurement.
pub const DRAIN: Duration = crate::http::REQUEST_TIMEOUT;
