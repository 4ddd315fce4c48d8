//! Service tests: HTTP to the real router, real engines, and a simulated user-service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod app;
mod audit;
mod blocks;
mod budgets;
mod documents;
mod events;
mod faults;
mod friends;
mod limits;
mod model;
mod privacy;
mod races;
mod requests;
mod search;
mod statement_counter;
mod takeover;
mod user_service;
