//! Faults: what becomes of changes when brokers, services and stores are stopped and killed under load.
//!
//! `cargo stack test --faults` (or `--faults=full`) runs them, one after another, on a stack of three brokers with
//! replicas; elsewhere they are ignored, for they take down what other tests need. Each ends in an [`account`] of every
//! acknowledged change.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::print_stdout, reason = "what was measured is a result too")]

mod account;
mod brokers;
mod consumer;
mod engines;
mod facts;
mod ledger;
mod load;
mod names;
mod poison;
mod readers;
mod services;
mod stack;
