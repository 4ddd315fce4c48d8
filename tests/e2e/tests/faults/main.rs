//! Fault tests: brokers, services and stores are stopped and killed under load, and no acknowledged change is lost.
//!
//! `cargo stack test --faults` (or `--faults=full`) runs them one after another on a stack of three brokers with
//! replicas. Other runs ignore them, because they stop processes that other tests need. Most of them end in a
//! [`verification`] of every acknowledged change.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]
#![allow(clippy::print_stdout, reason = "the measurements are a result too")]

mod backup;
mod brokers;
mod consumer;
mod drill;
mod engines;
mod files;
mod history;
mod load;
mod mysql_events;
mod poison;
mod projection;
mod readers;
mod services;
mod stack;
mod verification;
