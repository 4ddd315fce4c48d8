//! Kafka: the producer, the consumers, the topics and the dead letters.

mod client;
pub mod consumer;
pub mod dead_letters;
mod group;
mod metrics;
pub mod producer;
pub mod received;
pub mod record;
mod reporting;
pub mod tail;
pub mod topics;

pub(crate) use client::backoff;
