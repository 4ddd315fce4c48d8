//! The parts of an outbox that appending, relaying and measuring share.

use std::sync::Arc;

use common::events::topics::TopicNames;
use platform::telemetry::Metrics;
use sqlx::MySqlPool;
use tokio::sync::Notify;

use crate::kafka::producer::Producer;

pub(super) struct Shared {
    pub(super) service: &'static str,
    pub(super) pool: MySqlPool,
    pub(super) producer: Producer,
    pub(super) topics: TopicNames,
    pub(super) metrics: Metrics,
    /// The statement that appends an event.
    pub(super) insert: Arc<str>,
    /// Notified when a transaction with an event has committed.
    pub(super) committed: Notify,
}
