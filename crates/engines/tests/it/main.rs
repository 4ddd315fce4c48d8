//! The way of events through real engines: MySQL (`MYSQL_ADMIN_URL`) and Kafka (`KAFKA_BOOTSTRAP_SERVERS`).
//!
//! `cargo stack test` starts them. Each test has a schema and topics of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker_away;
mod consumer;
mod dead_letters;
mod latency;
mod live;
mod migrations;
mod mysql;
mod outbox;
mod producer;
mod soak;
mod support;
mod topics;
