//! The deployment files: that they tell the programs what these read, that what they name is there, and that they agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod documents;
mod environment;
mod images;
mod kong;
mod kubernetes;
mod places;
mod topics;
