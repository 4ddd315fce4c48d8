//! The properties that hold for any input of a stranger.
//!
//! Each function takes arbitrary bytes and panics if its promise is broken. `tests/replay.rs` calls them with the files of
//! `corpus` in every test run; `tests/fuzz/run` searches for further inputs, and adds those that reach new code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a broken promise is reported")]

mod cursor;
mod email;
mod event;
mod input;
mod jwt;
mod kong;

pub use cursor::cursor;
pub use email::email;
pub use event::event;
pub use input::input;
pub use jwt::jwt;
pub use kong::kong;
