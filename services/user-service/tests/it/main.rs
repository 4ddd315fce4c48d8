//! Service tests: HTTP to the real router and real engines, with a separate namespace in each engine for each test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod app;
mod documents;
mod keys;
mod limits;
mod login;
mod passwords;
mod presence;
mod profile;
mod register;
mod search;
mod sessions;
mod takeover;
mod users;
