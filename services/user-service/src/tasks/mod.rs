//! Background tasks: presence, revocations, the search index.

mod presence;
mod revocation_sync;
mod search_index;

pub use presence::PresenceSweeper;
pub use revocation_sync::RevocationSync;
pub use search_index::backfill_search_index;
