//! Dashboards and alerts on a real Prometheus and Alertmanager: `cargo stack test --observe`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]
#![allow(clippy::print_stdout, reason = "the measurements are a result too")]

mod activity;
mod alerts;
mod dashboards;
mod prometheus;
