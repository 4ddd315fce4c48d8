//! The audit log: who did what, from where, with which outcome.
//!
//! A line has the target [`TARGET`] (in JSON: `logger`) and is written at every level of the log, so that an operator can
//! keep these lines apart from the others and longer. It has ids only, except for the network address of the client.

use std::fmt::Display;

use common::error::Result;
use common::id::UserId;
use prometheus::IntCounterVec;

use super::Metrics;
use crate::context;

/// The target of the lines.
pub const TARGET: &str = "audit";

const OUTCOMES: [&str; 3] = ["success", "refused", "failed"];

/// Writes the audit log of a service and counts its lines. Clones share the counter.
#[derive(Clone)]
pub struct Audit {
    events: IntCounterVec,
}

impl Audit {
    /// Registers the counter. Its series for `actions` start at zero, so that a rate includes the first line.
    ///
    /// # Errors
    /// Returns an error if the metric is already registered.
    pub fn register(metrics: &Metrics, actions: &[&str]) -> prometheus::Result<Self> {
        let events = metrics.counters("audit_events_total", "Lines of the audit log", &["action", "outcome"])?;
        for action in actions {
            for outcome in OUTCOMES {
                events.with_label_values(&[*action, outcome]);
            }
        }
        Ok(Self { events })
    }

    /// Records an action by its result: `success`, `refused` (4xx, with the error's code as `reason`) or `failed` (5xx).
    ///
    /// `actor` is the user who acts, if known. `object` names the session, user or room acted upon, by its id.
    pub fn record<T>(&self, action: &'static str, actor: Option<UserId>, object: impl Display, result: &Result<T>) {
        let (outcome, reason) = match result {
            Ok(_) => (OUTCOMES[0], None),
            Err(e) if e.status().is_client_error() => (OUTCOMES[1], Some(e.code())),
            Err(e) => (OUTCOMES[2], Some(e.code())),
        };
        self.events.with_label_values(&[action, outcome]).inc();
        tracing::info!(
            target: TARGET,
            action,
            outcome,
            reason,
            actor = actor.map(|user| user.0),
            %object,
            address = context::client_address().map(tracing::field::display),
            "audit"
        );
    }
}
