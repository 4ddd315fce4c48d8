//! Tests of the parts that need engines.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod budget;
mod revocations;

use common::error::Detail;
use platform::Service;

const SERVICE: Service =
    Service { name: "test-service", title: "Test", port: 0, refusals: Detail::Text, password_flow: false };
