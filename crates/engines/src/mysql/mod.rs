//! MySQL: the pool, transactions and migrations.

mod durability;
mod error;
mod ids;
mod migrate;
mod pool;
mod probe;
mod transaction;

pub use durability::shows_durable_commits_only;
pub use error::OnDuplicate;
pub use ids::with_ids;
pub use migrate::{migrate, prepare};
pub use pool::pool;
pub use transaction::{begin, retry_on_deadlock};
