//! chat-service over HTTP, with real databases and brokers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue should say where")]

mod access;
mod all_rooms;
mod app;
mod audit;
mod blocks;
mod bounded_reads;
mod budgets;
mod calls;
mod clocks;
mod epochs;
mod exactness;
mod fakes;
mod files;
mod gaps;
mod groups;
mod large_group;
mod many_streams;
mod membership;
mod messages;
mod model;
mod original_returns;
mod permissions;
mod person;
mod privacy;
mod process;
mod profiles;
mod reactions;
mod reads;
mod retention;
mod rooms;
mod search;
mod settings;
mod stalls;
mod stream;
mod stream_limits;
mod sweep;
mod takeover;
mod telemetry;
mod tickets;
mod typing;
mod unicode;
mod writer;
