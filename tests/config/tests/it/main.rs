//! Tests of the deployment files: they set the variables that the programs read, their references resolve, and they
//! agree with each other. The tests need no running engines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod alerts;
mod attributes;
mod backups;
mod compose;
mod documents;
mod environment;
mod images;
mod kong;
mod kubernetes;
mod migrations;
mod mongodb;
mod releases;
mod security;
mod topics;
mod versions;
mod workflows;
