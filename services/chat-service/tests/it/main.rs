//! chat-service over HTTP, with real engines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod access;
mod app;
mod blocks;
mod exactness;
mod messages;
mod model;
mod process;
mod reads;
mod rooms;
mod stream;
mod takeover;
mod telemetry;
mod writer;
