//! Tests of the parts that need engines.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod budget;
