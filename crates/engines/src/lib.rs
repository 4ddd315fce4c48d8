//! The clients of the databases, of the broker and of the object store, and the work that needs nothing else: the outbox and presence.
//!
//! A function of a store returns [`error::Result`]. Its [`error::Error`] wraps the error of `common` and is made from
//! the errors of the drivers, so that `?` works on both. Each driver's conversion is in the module of the driver. "The
//! original" is explained in the documentation of `common`.

#![warn(missing_docs)]

pub mod error;
pub mod kafka;
pub mod mongo;
pub mod mysql;
pub mod object_store;
pub mod outbox;
pub mod presence;
pub mod redis;
