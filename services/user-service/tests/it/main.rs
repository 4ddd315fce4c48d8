//! Service tests: HTTP to the real router, real engines, a space of its own for each test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod documents;
mod limits;
mod login;
mod passwords;
mod presence;
mod profile;
mod register;
mod search;
mod sessions;
mod stage;
mod takeover;
mod users;
