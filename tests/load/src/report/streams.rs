//! The results of scenarios with streams.

use std::collections::BTreeMap;

use serde::Serialize;

use super::idle::IdleCost;
use crate::received::Arrivals;

/// Open streams.
#[derive(Clone, Debug, Serialize)]
pub struct StreamCost {
    /// Streams that were open.
    pub streams: u64,
    /// The memory that each process took while they opened, KB for each stream.
    pub kb_each: BTreeMap<String, f64>,
    /// The cost of all processes while no message was sent.
    pub idle: Vec<IdleCost>,
    #[serde(flatten)]
    pub deliveries: Delivered,
}

/// Deliveries of the messages that were sent to all streams of their rooms.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Delivered {
    pub expected: u64,
    /// Those that arrived, each counted once.
    pub received: u64,
    pub lost: u64,
    /// Deliveries of a message that had arrived on the same stream before.
    pub double: u64,
    /// Messages that arrived on a stream of other rooms.
    pub foreign: u64,
}

impl From<Arrivals> for Delivered {
    fn from(arrivals: Arrivals) -> Self {
        let Arrivals { expected, received, double, foreign } = arrivals;
        Self { expected, received, lost: arrivals.lost(), double, foreign }
    }
}

/// Streams that were cut at once and came back.
#[derive(Clone, Debug, Serialize)]
pub struct Reconnect {
    /// Streams that were open.
    pub streams: u64,
    pub cut: u64,
    pub back: u64,
    /// The seconds from the cut until the last one was open again; none if some did not come back.
    pub all_back_seconds: Option<f64>,
    /// Streams that were told to fetch their rooms anew.
    pub resyncs: u64,
    #[serde(flatten)]
    pub deliveries: Delivered,
}
