//! The runtime of a service, whichever databases it uses: HTTP, health, telemetry, shutdown, background tasks and the
//! configuration that all services read.
//!
//! A process has one [`Platform`]. "The original" is explained in the documentation of `common`.

#![warn(missing_docs)]

pub mod config;
pub mod context;
pub mod health;
pub mod http;
mod identity;
mod platform;
pub mod shutdown;
pub mod task;
pub mod telemetry;

pub use identity::Service;
pub use platform::Platform;
