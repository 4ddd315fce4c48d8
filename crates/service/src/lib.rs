//! The parts that every service builds on `common`, `platform` and `engines`: authentication, the client of
//! user-service, and the process with its commands.
//!
//! "The original" is explained in the documentation of `common`.

#![warn(missing_docs)]

pub mod auth;
pub mod clients;
mod process;

pub use process::main;
