//! How memory grows in a long measurement.

use std::collections::BTreeMap;

use super::Point;

/// A measurement that is shorter shows how caches fill, and no growth.
const MIN_SECONDS: f64 = 60.0;

const HOUR: f64 = 3600.0;

/// Megabytes in an hour of each process: the slope of the line with the least squares through the last two thirds of the
/// points. None for a short measurement.
pub fn memory_growth(timeline: &[Point]) -> Option<BTreeMap<String, f64>> {
    let settled = &timeline[timeline.len() / 3..];
    let last = settled.last().filter(|last| last.at >= MIN_SECONDS)?;
    let slope_of = |name: &String| {
        let points = settled.iter().filter_map(|point| Some((point.at, *point.memory_mb.get(name)?)));
        (name.clone(), HOUR * slope(&points.collect::<Vec<_>>()))
    };
    Some(last.memory_mb.keys().map(slope_of).collect())
}

/// Zero for fewer than two points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = points
        .iter()
        .fold((0.0, 0.0), |(over, under), (x, y)| (over + (x - mean_x) * (y - mean_y), under + (x - mean_x).powi(2)));
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(seconds: u32, megabytes: impl Fn(f64) -> f64) -> Vec<Point> {
        let point = |at: f64| Point {
            at,
            per_second: 0.0,
            errors: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            memory_mb: [("mysql".to_owned(), megabytes(at))].into(),
        };
        (1..=seconds).map(|second| point(f64::from(second))).collect()
    }

    #[test]
    fn memory_that_fills_first_and_is_constant_later_does_not_grow() {
        let growth = memory_growth(&timeline(90, |at| (10.0 * at).min(300.0))).unwrap();
        assert!(growth["mysql"].abs() < 1e-6, "{growth:?}");
    }

    #[test]
    fn growth_is_in_megabytes_an_hour() {
        let growth = memory_growth(&timeline(120, |at| 50.0 + at / 60.0)).unwrap();
        assert!((growth["mysql"] - 60.0).abs() < 1e-6, "{growth:?}");
    }

    #[test]
    fn a_short_measurement_shows_no_growth() {
        assert!(memory_growth(&timeline(30, |at| at)).is_none());
        assert!(memory_growth(&[]).is_none());
    }
}
