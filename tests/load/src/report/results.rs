//! The results, in the form of the JSON file. Names of fields contain their units.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Interval, Row};
use crate::system::{Machine, Reading};
use crate::target::Target;

/// Of the JSON file. A change of the meaning of a field makes it 2.
const FORMAT: u32 = 1;

/// The quantiles of the curve in the report.
const CURVE: [f64; 13] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

#[derive(Serialize)]
pub struct Report {
    format: u32,
    version: &'static str,
    pub started_at: DateTime<Utc>,
    pub machine: Machine,
    pub target: Target,
    /// The command line.
    pub arguments: Vec<String>,
    /// The run was ended before it was complete.
    pub interrupted: bool,
    pub measured: Vec<Measured>,
    /// Of the scenario `cpu`.
    pub costs: Vec<Cost>,
    pub idle: Vec<IdleCost>,
    /// Of the scenario `streams`.
    pub streams: Option<StreamCost>,
}

impl Report {
    pub fn new(machine: Machine, target: Target, arguments: Vec<String>) -> Self {
        let (format, version) = (FORMAT, env!("CARGO_PKG_VERSION"));
        Self {
            format,
            version,
            started_at: Utc::now(),
            machine,
            target,
            arguments,
            interrupted: false,
            measured: Vec::new(),
            costs: Vec::new(),
            idle: Vec::new(),
            streams: None,
        }
    }
}

/// One scenario.
#[derive(Serialize)]
pub struct Measured {
    pub scenario: String,
    pub load: Load,
    /// From the start to the end of the last act that succeeded.
    pub seconds: f64,
    /// The time for which the processes were observed: to the end of everything that was waited for.
    pub observed_seconds: f64,
    pub acts: Vec<ActResult>,
    /// Acts that could not start or end in time.
    pub unfinished: u64,
    pub processes: Vec<ProcessUse>,
    pub timeline: Vec<Point>,
}

impl Measured {
    pub fn has_success(&self) -> bool {
        self.acts.iter().any(|act| act.count > 0)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Each client starts its next act when the last one has ended.
    Closed { clients: u32 },
    /// Acts start at a fixed rate.
    Open { per_second: f64, clients: u32 },
}

/// The acts of one name.
#[derive(Serialize)]
pub struct ActResult {
    pub act: String,
    /// Acts that succeeded.
    pub count: u64,
    pub per_second: f64,
    /// Counts by status and code.
    pub errors: BTreeMap<String, u64>,
    pub latency: Latency,
    /// Quantiles and their latencies in milliseconds.
    pub curve: Vec<(f64, f64)>,
}

impl ActResult {
    pub fn new(act: &str, row: Row, seconds: f64) -> Self {
        let count = row.latency.len();
        let curve = if count == 0 {
            Vec::new()
        } else {
            CURVE.map(|quantile| (quantile, millis(&row.latency, quantile))).into()
        };
        let per_second = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Self { act: act.into(), count, per_second, errors: row.errors, latency: Latency::of(&row.latency), curve }
    }

    pub fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Of a histogram in microseconds; all zero if it is empty.
    pub fn of(latency: &Histogram<u64>) -> Self {
        if latency.is_empty() {
            return Self::default();
        }
        let at = |quantile| millis(latency, quantile);
        let (mean_ms, max_ms) = (latency.mean() / 1_000.0, latency.max() as f64 / 1_000.0);
        Self { mean_ms, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms }
    }
}

fn millis(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1_000.0
}

/// The use of one process, or of all replicas of one name, during a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessUse {
    pub name: String,
    pub cpu_seconds: f64,
    pub memory_mb_before: f64,
    pub memory_mb_after: f64,
}

impl ProcessUse {
    pub fn between(before: &Reading, after: &Reading) -> Vec<Self> {
        let memory = |reading: &Reading, name: &str| megabytes(reading.memory.get(name).copied().unwrap_or_default());
        let of = |(name, cpu_seconds): (String, f64)| Self {
            cpu_seconds,
            memory_mb_before: memory(before, &name),
            memory_mb_after: memory(after, &name),
            name,
        };
        after.cpu_since(before).into_iter().map(of).collect()
    }
}

/// The CPU time of one act at one rate, without the idle cost.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub act: String,
    pub per_second: f64,
    /// Acts that succeeded.
    pub count: u64,
    pub errors: BTreeMap<String, u64>,
    /// Milliseconds of each process.
    pub ms: BTreeMap<String, f64>,
    /// The milliseconds by which the sum may be wrong, because the idle cost varies.
    pub noise_ms: f64,
}

impl Cost {
    /// Milliseconds of all processes of the system.
    pub fn all_ms(&self) -> f64 {
        self.ms.iter().filter(|(name, _)| Reading::is_of_system(name)).map(|(_, ms)| ms).sum()
    }
}

/// The CPU time of an idle process, in hundredths of a core.
#[derive(Clone, Debug, Serialize)]
pub struct IdleCost {
    pub name: String,
    pub percent_of_core: f64,
}

/// Open streams of rooms.
#[derive(Clone, Debug, Serialize)]
pub struct StreamCost {
    /// Streams that were open.
    pub streams: u64,
    /// The memory that each process took while they opened, KB for each stream.
    pub kb_each: BTreeMap<String, f64>,
    /// The cost of all processes while no message was sent.
    pub idle: Vec<IdleCost>,
    /// Deliveries of all messages that were sent to all streams of their rooms, and those that arrived.
    pub expected: u64,
    pub received: u64,
}

/// One interval of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The end of the interval, seconds after the start.
    pub at: f64,
    /// Acts that succeeded, a second.
    pub per_second: f64,
    pub errors: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub memory_mb: BTreeMap<String, f64>,
}

impl Point {
    pub fn new(started: Instant, length: Duration, interval: &Interval, reading: &Reading) -> Self {
        let Latency { p50_ms, p99_ms, .. } = Latency::of(&interval.latency);
        let per_second = interval.latency.len() as f64 / length.as_secs_f64().max(0.001);
        let memory_mb = reading.memory.iter().map(|(name, bytes)| (name.clone(), megabytes(*bytes))).collect();
        Self { at: started.elapsed().as_secs_f64(), per_second, errors: interval.errors, p50_ms, p99_ms, memory_mb }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_success_has_no_latency_and_no_curve() {
        let mut row = Row::default();
        row.errors.insert("503".into(), 7);
        let result = ActResult::new("send", row, 10.0);
        assert_eq!((result.count, result.failures(), result.per_second), (0, 7, 0.0));
        assert_eq!(result.latency, Latency::default());
        assert!(result.curve.is_empty());
    }

    #[test]
    fn latencies_are_in_milliseconds() {
        let mut row = Row::default();
        [1_000, 2_000, 3_000].into_iter().for_each(|micros| row.latency.saturating_record(micros));
        let result = ActResult::new("send", row, 2.0);
        assert_eq!(result.per_second, 1.5);
        assert!((result.latency.p50_ms - 2.0).abs() < 0.01, "{:?}", result.latency);
        assert_eq!(result.curve.len(), CURVE.len());
    }

    #[test]
    fn the_use_of_a_process_is_the_difference_of_two_readings() {
        let reading = |cpu: f64, memory: u64| Reading {
            cpu: [("mysql".into(), cpu)].into(),
            memory: [("mysql".into(), memory)].into(),
        };
        let used = ProcessUse::between(&reading(10.0, 1 << 20), &reading(12.5, 3 << 20));
        assert_eq!((used[0].cpu_seconds, used[0].memory_mb_before, used[0].memory_mb_after), (2.5, 1.0, 3.0));
    }
}
