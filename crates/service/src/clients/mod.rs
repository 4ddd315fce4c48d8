//! Clients of our own services.

pub mod user;
