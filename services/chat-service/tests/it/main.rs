//! chat-service over HTTP, with real engines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod access;
mod all_rooms;
mod app;
mod blocks;
mod exactness;
mod groups;
mod large_group;
mod messages;
mod permissions;
mod process;
mod reactions;
mod reads;
mod rooms;
mod search;
mod stream;
mod takeover;
mod tickets;
mod typing;
mod writer;
