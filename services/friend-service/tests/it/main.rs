//! Service tests: HTTP to the real router, real engines, and a scripted user-service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod app;
mod blocks;
mod documents;
mod events;
mod faults;
mod friends;
mod model;
mod races;
mod requests;
mod search;
mod takeover;
mod users;
mod wire;
