//! What all three services need and nothing else. No business rule lives here.

pub mod auth;
pub mod clients;
pub mod config;
pub mod error;
pub mod events;
pub mod health;
pub mod http;
pub mod id;
pub mod input;
pub mod kafka;
pub mod mongo;
pub mod mysql;
pub mod outbox;
pub mod platform;
pub mod presence;
pub mod redis;
pub mod shutdown;
pub mod task;
pub mod telemetry;
