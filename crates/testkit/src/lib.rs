//! What the tests of the three services share: real engines, a space of its own for each test, and a client.
//!
//! Engines come from the environment; `cargo stack test` sets it, and service containers serve as well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod client;
mod document;
mod events;
mod faults;
mod server;
mod space;
mod sse;
mod supervisor;

pub use client::{Answer, Client};
pub use document::described;
pub use events::Events;
pub use faults::FaultyLink;
pub use server::Server;
pub use space::{SECRET_KEY, Space};
pub use sse::{Event, Sse};
pub use supervisor::{order, supervisor};

use std::time::Duration;

/// How long a test waits for what must come: far beyond any honest delay, so that only a fault runs into it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A test allows this multiple of a deadline that the contract promises: a shared machine may be slow, and a fault takes
/// for ever.
pub const SLACK: u32 = 3;

/// Asks until the answer is there; panics with `what` when it does not come.
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
