//! Background tasks: canonical e-mail addresses, presence, revocations, expired sessions, the search index.

mod email_forms;
mod presence;
mod revocation_sync;
mod search_index;
mod session_pruning;

pub use email_forms::EmailFormBackfill;
pub use presence::PresenceSweeper;
pub use revocation_sync::RevocationSync;
pub use search_index::backfill_search_index;
pub use session_pruning::SessionPruning;
