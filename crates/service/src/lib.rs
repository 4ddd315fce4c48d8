//! The parts that services build on `common`, `platform` and `engines`: authentication, the client of user-service, the copy
//! of the blocks, the budgets of writes, and the process with its commands.
//!
//! "The original" is explained in the documentation of `common`.

#![warn(missing_docs)]

mod answer;
pub mod auth;
pub mod blocks;
pub mod budget;
pub mod clients;
mod process;

pub use process::{Command, exit_code, main};
