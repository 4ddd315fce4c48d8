//! The intended starts of the acts of an open loop.

use std::time::{Duration, Instant};

/// Acts at a fixed rate from a start on, evenly spaced.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    /// Acts a second.
    rate: f64,
    duration: Duration,
}

impl Schedule {
    pub fn new(start: Instant, rate: f64, duration: Duration) -> Self {
        Self { start, rate, duration }
    }

    /// The number of acts: at least one.
    pub fn count(&self) -> u64 {
        ((self.rate * self.duration.as_secs_f64()).round() as u64).max(1)
    }

    /// The intended start of an act, whatever happened to the acts before it. Latency counts from here: a request that had to
    /// wait for slow ones before it is as late as it would be for a user.
    pub fn at(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.rate)
    }

    /// The number of acts that should have started by now.
    pub fn due(&self, now: Instant) -> u64 {
        let Some(elapsed) = now.checked_duration_since(self.start) else { return 0 };
        let due = (elapsed.as_secs_f64() * self.rate).floor() as u64 + 1;
        due.min(self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    #[test]
    fn a_schedule_has_rate_times_duration_acts_at_equal_distances() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 30.0, TEN_SECONDS);
        assert_eq!(schedule.count(), 300);
        assert_eq!(schedule.at(0), start);
        assert_eq!(schedule.at(3), start + Duration::from_millis(100));
    }

    #[test]
    fn a_slow_rate_has_at_least_one_act() {
        assert_eq!(Schedule::new(Instant::now(), 0.1, Duration::from_secs(1)).count(), 1);
    }

    #[test]
    fn acts_are_due_from_their_intended_start_and_never_more_than_all() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 2.0, TEN_SECONDS);
        let due = |millis| schedule.due(start + Duration::from_millis(millis));
        assert_eq!((due(0), due(499), due(501), due(60_000)), (1, 1, 2, 20));
        assert_eq!(schedule.due(start.checked_sub(Duration::from_secs(1)).unwrap()), 0);
    }
}
