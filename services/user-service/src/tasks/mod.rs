//! Background work: presence, ended sessions, the search index.

mod indexing;
mod presence;
mod revocations;

pub use indexing::index;
pub use presence::Sweeper;
pub use revocations::Keeper;
