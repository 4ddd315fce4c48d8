//! Service tests: HTTP to the real router and real engines, with a separate namespace in each engine for each test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod app;
mod audit;
mod blocks;
mod budgets;
mod documents;
mod emails;
mod keys;
mod limits;
mod login;
mod look_alikes;
mod notices;
mod passwords;
mod presence;
mod privacy;
mod profile;
mod register;
mod revocations;
mod search;
mod second_factor;
mod session_limits;
mod session_races;
mod sessions;
mod takeover;
mod unicode;
mod users;
