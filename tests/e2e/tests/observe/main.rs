//! Boards and alerts, held against a real Prometheus and Alertmanager: `cargo stack test --observe`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::print_stdout, reason = "what is seen is a result too")]

mod alerts;
mod boards;
mod life;
mod prometheus;
