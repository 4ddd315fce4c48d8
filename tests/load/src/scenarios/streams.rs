//! The scenario `streams`: open streams, their idle cost, and messages that go out to all of them.

use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::{Run, cost};
use crate::http::Failure;
use crate::listener::StreamKind;
use crate::report::{Measured, StreamCost};
use crate::terminal::note;

/// Opens streams, watches them idle and sends messages. The results have the opening and the deliveries; nothing is measured if
/// the accounts cannot be prepared.
pub async fn streams(
    run: &Run,
    scenario: &str,
    number: usize,
    kind: StreamKind,
) -> Result<(Vec<Measured>, StreamCost), Failure> {
    let mut fleet = Fleet::prepare(run, number, kind).await?;
    let opening = fleet.open(run, &format!("{scenario}: open"), number).await;
    let streams = fleet.listeners.len() as u64;
    note(&format!("streams: measuring {streams} idle streams for {} s", run.duration.as_secs()));
    let idle = cost::measure_idle(run, run.duration).await.map(cost::percent).unwrap_or_default();
    let delivering = fleet.deliver(run, &format!("{scenario}: deliver")).await;
    let cost = StreamCost { streams, kb_each: kb_each(&opening), idle, deliveries: fleet.arrivals().into() };
    Ok((vec![opening, delivering], cost))
}

/// The memory that the processes of the system took while the streams opened, KB for each stream.
fn kb_each(opening: &Measured) -> BTreeMap<String, f64> {
    let grown = opening.processes.iter().map(|process| {
        let megabytes = process.memory_mb_after - process.memory_mb_before;
        (process.name.clone(), megabytes * 1024.0 / opening.total.count.max(1) as f64)
    });
    grown.collect()
}
