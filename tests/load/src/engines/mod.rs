//! Direct writes into the engines of the running stack, for sizes that the API cannot create in bounded time.
//!
//! The rows and documents have the form in which the services write them, without events: Kafka and the other services learn
//! nothing of them.

mod accounts;
mod messages;

pub use accounts::Accounts;
pub use messages::Messages;

use std::env;

use anyhow::{Context, Result, ensure};
use reqwest::Url;

use crate::target::is_local;

/// The address of an engine of the running stack.
///
/// # Errors
/// Fails if no stack is running, or if the engine is on another machine.
fn address(variable: &str) -> Result<String> {
    let address = env::var(variable).with_context(|| format!("no stack is running: {variable} is not set"))?;
    let url = Url::parse(&address).with_context(|| format!("{variable} is not an address"))?;
    ensure!(is_local(&url), "{variable} names another machine, into whose engines the benchmark does not write");
    Ok(address)
}
