//! The values that all services share: ids, tokens, errors, event schemas, input and configuration.
//!
//! This crate depends on no database driver, no message broker and no HTTP server. `platform` is the runtime of a service,
//! `engines` holds the clients of the databases and the broker, and `service` builds on the three.
//!
//! **The original** is the system that this one replaces: three FastAPI services in Python with aiomysql, Motor,
//! redis-py and aiokafka. Its clients, tables, Redis keys, tokens and Kafka records are still in use, so the
//! documentation says where a format or a rule comes from it.

#![warn(missing_docs)]

pub mod config;
pub mod error;
pub mod events;
pub mod id;
pub mod input;
pub mod jwt;
pub mod network;
pub mod request_id;
pub mod text;
pub mod time;
