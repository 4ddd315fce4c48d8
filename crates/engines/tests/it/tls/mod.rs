//! Connections to engines that require TLS and a client's certificate. Each test starts an engine of its own, with an
//! authority of its own.

mod authority;
pub mod engine;
mod kafka;
pub mod mongodb;
mod mysql;
mod redis;
