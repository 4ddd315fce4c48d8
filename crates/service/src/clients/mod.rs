//! Clients of this system's own services.

pub mod user;
