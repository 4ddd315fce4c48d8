//! MySQL: the pool, transactions and migrations.

mod error;
mod ids;
mod migrate;
mod pool;
mod probe;
mod transaction;

pub use error::OnDuplicate;
pub use ids::with_ids;
pub use migrate::{migrate, prepare};
pub use pool::pool;
pub use transaction::{begin, retry_on_deadlock};
