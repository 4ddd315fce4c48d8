//! Events through a real MySQL (`MYSQL_ADMIN_URL`) and Kafka (`KAFKA_BOOTSTRAP_SERVERS`), and presence in a real Redis
//! (`REDIS_URL`).
//!
//! `cargo stack test` starts them. Each test has a schema, topics and keys of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker_outage;
mod consumer;
mod dead_letters;
mod late_name;
mod latency;
mod migrations;
mod mysql;
mod outbox;
mod presence;
mod producer;
mod rotation;
mod soak;
mod support;
mod tail;
mod tls;
mod topics;
