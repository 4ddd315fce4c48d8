//! Service tests: HTTP to the real router, real engines, and a user-service that does as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod blocks;
mod documents;
mod events;
mod faults;
mod friends;
mod model;
mod people;
mod races;
mod requests;
mod stage;
mod takeover;
mod users;
mod wire;
