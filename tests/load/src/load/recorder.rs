//! The record of acts: counts, errors and latencies, of the whole measurement and of the current interval.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::http::Failure;

/// Latencies in microseconds up to ten minutes, with three significant digits.
const MAX_MICROS: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// Different errors of one row that are told apart.
const MAX_ERRORS: usize = 50;

/// Shared by all clients of a measurement. The lock is held for less than a microsecond.
pub struct Recorder(Mutex<Tally>);

struct Tally {
    /// In the order of their first acts.
    rows: Vec<(&'static str, Row)>,
    /// Whole acts that succeeded, in microseconds.
    whole: Histogram<u64>,
    interval: Interval,
    last_success: Option<Instant>,
}

/// Everything that was recorded.
pub struct Recorded {
    /// In the order of their first acts.
    pub rows: Vec<(&'static str, Row)>,
    /// Whole acts that succeeded, in microseconds.
    pub whole: Histogram<u64>,
    /// The end of the last act that succeeded.
    pub last_success: Option<Instant>,
}

/// The acts of one name.
pub struct Row {
    /// Acts that succeeded, with their latencies in microseconds.
    pub latency: Histogram<u64>,
    pub errors: BTreeMap<String, u64>,
}

/// All acts since the last interval.
pub struct Interval {
    /// Microseconds.
    pub latency: Histogram<u64>,
    pub errors: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let interval = Interval { latency: histogram(), errors: 0 };
        Self(Mutex::new(Tally { rows: Vec::new(), whole: histogram(), interval, last_success: None }))
    }
}

impl Recorder {
    /// Records an act whose latency counts from `intended`. Returns whether it succeeded.
    pub fn record<T>(&self, row: &'static str, intended: Instant, result: &Result<T, Failure>) -> bool {
        self.add(row, intended, result, true)
    }

    /// Records a part of an act, which is not counted among the acts of an interval.
    pub fn record_step<T>(&self, row: &'static str, started: Instant, result: &Result<T, Failure>) {
        self.add(row, started, result, false);
    }

    fn add<T>(&self, row: &'static str, from: Instant, result: &Result<T, Failure>, whole: bool) -> bool {
        let now = Instant::now();
        let micros = micros(now.saturating_duration_since(from));
        let tally = &mut *self.0.lock();
        let row = tally.row(row);
        match result {
            Ok(_) => {
                row.latency.saturating_record(micros);
                tally.last_success = Some(now);
                if whole {
                    tally.whole.saturating_record(micros);
                    tally.interval.latency.saturating_record(micros);
                }
            }
            Err(failure) => {
                row.fail(failure.to_string());
                tally.interval.errors += u64::from(whole);
            }
        }
        result.is_ok()
    }

    /// The acts since the last call.
    pub fn take_interval(&self) -> Interval {
        let mut tally = self.0.lock();
        std::mem::replace(&mut tally.interval, Interval { latency: histogram(), errors: 0 })
    }

    pub fn finish(&self) -> Recorded {
        let mut tally = self.0.lock();
        let (rows, whole) = (std::mem::take(&mut tally.rows), std::mem::replace(&mut tally.whole, histogram()));
        Recorded { rows, whole, last_success: tally.last_success }
    }
}

impl Tally {
    fn row(&mut self, name: &'static str) -> &mut Row {
        let index = self.rows.iter().position(|(row, _)| *row == name).unwrap_or_else(|| {
            self.rows.push((name, Row::default()));
            self.rows.len() - 1
        });
        &mut self.rows[index].1
    }
}

impl Default for Row {
    fn default() -> Self {
        Self { latency: histogram(), errors: BTreeMap::new() }
    }
}

impl Row {
    fn fail(&mut self, error: String) {
        let error = if self.errors.len() < MAX_ERRORS { error } else { "other".to_owned() };
        *self.errors.entry(error).or_default() += 1;
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS).max(1)
}

#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).expect("the bounds are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), Failure> {
        Err(Failure::Status { status: 503, code: "service_unavailable".into() })
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let recorder = Recorder::default();
        let intended = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        assert!(recorder.record("send", intended, &Ok(())));
        assert!(recorder.finish().rows[0].1.latency.max() >= 2_000_000);
    }

    #[test]
    fn errors_are_counted_by_status_and_code_and_have_no_latency() {
        let recorder = Recorder::default();
        for result in [refused(), refused(), Err(Failure::Timeout)] {
            assert!(!recorder.record("send", Instant::now(), &result));
        }
        let Recorded { rows, last_success, .. } = recorder.finish();
        let errors: Vec<_> = rows[0].1.errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(errors, [("503 service_unavailable", 2), ("no answer within 35 s", 1)]);
        assert!(rows[0].1.latency.is_empty() && last_success.is_none());
    }

    #[test]
    fn different_errors_are_bounded() {
        let mut row = Row::default();
        (0..1_000).for_each(|n| row.fail(n.to_string()));
        assert_eq!(row.errors.len(), MAX_ERRORS + 1);
        assert_eq!(row.errors.values().sum::<u64>(), 1_000);
    }

    #[test]
    fn steps_have_rows_but_count_as_no_act() {
        let recorder = Recorder::default();
        recorder.record("story", Instant::now(), &Ok(()));
        recorder.record_step("story: login", Instant::now(), &Ok(()));
        assert_eq!(recorder.take_interval().latency.len(), 1);
        assert_eq!(recorder.take_interval().latency.len(), 0);
        let recorded = recorder.finish();
        assert_eq!((recorded.rows.len(), recorded.whole.len()), (2, 1));
    }

    #[test]
    fn percentiles_have_three_significant_digits() {
        let mut latency = histogram();
        (1..=1_000).for_each(|millis| latency.saturating_record(millis * 1_000));
        for (quantile, millis) in [(0.5, 500), (0.99, 990), (0.999, 999)] {
            let found = latency.value_at_quantile(quantile) as f64 / 1_000.0;
            assert!((found - f64::from(millis)).abs() / f64::from(millis) < 0.001, "{quantile}: {found}");
        }
    }
}
