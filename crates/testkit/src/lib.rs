//! The test harness of the services: real databases and brokers, names of its own for each test, and an HTTP client.
//!
//! The environment has the addresses of the databases and brokers. `cargo stack test` sets it; containers serve as
//! well.

#![warn(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot continue panics at the line of the cause"
)]

mod audit;
mod budgets;
mod client;
mod document;
mod events;
mod faults;
mod hostile;
mod keys;
mod logged_process;
mod server;
mod space;
mod sse;
mod supervisor;

pub use audit::AuditLog;
pub use budgets::{accepted, early_in_a_minute};
pub use client::{Answer, Client};
pub use document::operations;
pub use events::Events;
pub use faults::{FaultyLink, redis_link};
pub use hostile::assert_refusals_are_bounded;
pub use keys::private_key;
pub use logged_process::LoggedProcess;
pub use server::{Server, free_port};
pub use space::{SECRET_KEY, Space};
pub use sse::{Event, Sse};
pub use supervisor::{control, supervisor};

use std::io::Write;
use std::time::Duration;

/// How long a test waits for an expected effect. Only a fault takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The multiple of a deadline of the contract that a test allows, because a shared machine may be slow.
pub const SLACK: u32 = 3;

/// Says that a test, or a part of it, is skipped. The test harness does not capture it, so that the summary of `cargo stack test`
/// counts it.
pub fn skip(reason: &str) {
    std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}

/// Polls `ask` until it returns a value.
///
/// # Panics
/// Panics with `what` after [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{what}: did not happen in {PATIENCE:?}"))
}
