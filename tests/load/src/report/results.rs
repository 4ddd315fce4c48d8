//! The results, in the form of the JSON file. Names of fields contain their units.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::idle::IdleCost;
use super::streams::{Reconnect, StreamCost};
use crate::load::{Interval, Row};
use crate::system::{Machine, Reading};
use crate::target::Target;

/// Of the JSON file. A change of the meaning of a field makes it 3. Since 2, the target has lists of addresses.
const FORMAT: u32 = 2;

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
    /// The benchmark was ended before it was complete.
    pub interrupted: bool,
    /// Of several runs, the median.
    #[serde(flatten)]
    pub results: Results,
    pub ratios: Vec<Ratio>,
    /// Each run, if there are several.
    pub runs: Vec<Results>,
}

/// The results of one run, or the median of several.
#[derive(Clone, Default, Serialize)]
pub struct Results {
    pub measured: Vec<Measured>,
    /// Of the scenario `cpu`.
    pub costs: Vec<Cost>,
    pub idle: Vec<IdleCost>,
    /// Of the scenario `streams`.
    pub streams: Option<StreamCost>,
    pub reconnect: Option<Reconnect>,
    pub growth: Vec<Curve>,
}

impl Results {
    /// Adds the results of another scenario.
    pub fn add(&mut self, other: Self) {
        self.measured.extend(other.measured);
        self.costs.extend(other.costs);
        self.idle.extend(other.idle);
        self.streams = other.streams.or(self.streams.take());
        self.reconnect = other.reconnect.or(self.reconnect.take());
        self.growth.extend(other.growth);
    }
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
            results: Results::default(),
            ratios: Vec::new(),
            runs: Vec::new(),
        }
    }
}

/// The lowest and the highest value of a figure in several runs.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    pub figure: &'static str,
    pub runs: usize,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// None for a single value.
    pub fn of(figure: &'static str, values: &[f64]) -> Option<Self> {
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (values.len() > 1).then_some(Self { figure, runs: values.len(), lowest, highest })
    }
}

/// The rate of a closed loop divided by that of `health` in the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    pub scenario: String,
    pub to_health: f64,
    pub spread: Option<Spread>,
}

/// One scenario.
#[derive(Clone, Serialize)]
pub struct Measured {
    pub scenario: String,
    pub load: Load,
    /// From the start to the end of the last act that succeeded.
    pub seconds: f64,
    /// The time for which the processes were observed: to the end of everything that was waited for.
    pub observed_seconds: f64,
    pub total: Total,
    /// Of the key figure in several runs.
    pub spread: Option<Spread>,
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

    /// The name of the figure by which runs are compared: the rate of an open loop is given.
    pub fn key(&self) -> &'static str {
        match self.load {
            Load::Closed { .. } => "per_second",
            Load::Open { .. } => "p99_ms",
        }
    }

    pub fn key_figure(&self) -> f64 {
        match self.load {
            Load::Closed { .. } => self.total.per_second,
            Load::Open { .. } => self.total.p99_ms,
        }
    }
}

/// All acts of a scenario together. The requests of an act that has several are not counted by themselves.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Total {
    /// Acts that succeeded.
    pub count: u64,
    pub per_second: f64,
    pub p99_ms: f64,
}

impl Total {
    /// Of a histogram in microseconds.
    pub fn new(latency: &Histogram<u64>, seconds: f64) -> Self {
        let count = latency.len();
        Self { count, per_second: rate(count, seconds), p99_ms: Latency::of(latency).p99_ms }
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
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
#[derive(Clone, Serialize)]
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
        let (per_second, latency) = (rate(count, seconds), Latency::of(&row.latency));
        Self { act: act.into(), count, per_second, errors: row.errors, latency, curve }
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
    pub latency: Latency,
    /// Milliseconds of each process.
    pub ms: BTreeMap<String, f64>,
    /// Milliseconds of all processes of the system.
    pub all_ms: f64,
    /// The milliseconds by which the sum may be wrong, because the idle cost varies.
    pub noise_ms: f64,
    /// Of the sum in several runs.
    pub spread: Option<Spread>,
}

/// Measurements at several sizes.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Of these there are as many as the size says.
    pub dimension: &'static str,
    pub points: Vec<GrowthPoint>,
}

/// The measurements at one size.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthPoint {
    pub size: u64,
    pub acts: Vec<Cost>,
    /// The memory that each process took for each open stream, KB.
    pub kb_each: BTreeMap<String, f64>,
    pub idle: Vec<IdleCost>,
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
