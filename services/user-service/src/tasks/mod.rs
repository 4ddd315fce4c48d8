//! Background tasks: compared forms of e-mail addresses and usernames, presence, revocations, expired sessions, the
//! search index.

mod compared_forms;
mod presence;
mod revocation_sync;
mod search_index;
mod session_pruning;

pub use compared_forms::ComparedFormBackfill;
pub use presence::PresenceSweeper;
pub use revocation_sync::RevocationSync;
pub use search_index::backfill_search_index;
pub use session_pruning::SessionPruning;
