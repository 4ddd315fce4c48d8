//! The circuit breaker of a client: after several failures in a row it rejects calls for a while.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use parking_lot::Mutex;

/// The failures in a row after which the circuit opens.
pub(super) const FAILURES_TO_OPEN: u32 = 5;

/// The first and the longest time for which the circuit is open. Each time has a jitter of up to one half.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Counts failures in a row. The circuit is closed at first.
pub(super) struct CircuitBreaker(Mutex<State>);

struct State {
    failures: u32,
    circuit: Circuit,
    pauses: ExponentialBackoff,
}

#[derive(Clone, Copy, PartialEq)]
enum Circuit {
    Closed,
    /// Calls are rejected until this time.
    Open(Instant),
    /// Calls are permitted, and the next result closes or opens the circuit.
    HalfOpen,
}

/// A change of the circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Transition {
    Opened,
    Closed,
}

impl CircuitBreaker {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { failures: 0, circuit: Circuit::Closed, pauses: pauses() }))
    }

    /// Whether a call is permitted at this time.
    pub(super) fn permits(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.circuit {
            Circuit::Open(until) if now <= until => return false,
            Circuit::Open(_) => state.circuit = Circuit::HalfOpen,
            Circuit::Closed | Circuit::HalfOpen => {}
        }
        true
    }

    /// Records the result of a permitted call. Results of calls that began before the circuit opened do not change it.
    pub(super) fn record(&self, success: bool, now: Instant) -> Option<Transition> {
        let mut state = self.0.lock();
        match (success, state.circuit) {
            (true, circuit) => {
                state.failures = 0;
                (circuit == Circuit::HalfOpen).then(|| {
                    (state.circuit, state.pauses) = (Circuit::Closed, pauses());
                    Transition::Closed
                })
            }
            (false, Circuit::Open(_)) => None,
            (false, circuit) => {
                state.failures += 1;
                (circuit == Circuit::HalfOpen || state.failures >= FAILURES_TO_OPEN).then(|| {
                    let pause = state.pauses.next().unwrap_or(LONGEST_PAUSE);
                    state.circuit = Circuit::Open(now + pause);
                    Transition::Opened
                })
            }
        }
    }
}

/// Endless pauses between one half and the whole of an exponentially growing time: the jitter adds up to a pause's
/// length.
fn pauses() -> ExponentialBackoff {
    let halves = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE / 2).with_max_delay(LONGEST_PAUSE / 2);
    halves.with_jitter().without_max_times().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(breaker: &CircuitBreaker, now: Instant) {
        for _ in 1..FAILURES_TO_OPEN {
            assert!(breaker.permits(now));
            assert_eq!(breaker.record(false, now), None);
        }
        assert_eq!(breaker.record(false, now), Some(Transition::Opened));
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit() {
        let (breaker, now) = (CircuitBreaker::new(), Instant::now());
        open(&breaker, now);
        assert!(!breaker.permits(now + FIRST_PAUSE / 3));
        assert!(breaker.permits(now + FIRST_PAUSE + FIRST_PAUSE / 10));
    }

    #[test]
    fn a_success_restarts_the_count_of_failures() {
        let (breaker, now) = (CircuitBreaker::new(), Instant::now());
        for n in 0..100 {
            assert_eq!(breaker.record(n % FAILURES_TO_OPEN == 0, now), None);
        }
        assert!(breaker.permits(now));
    }

    #[test]
    fn a_success_after_the_pause_closes_the_circuit() {
        let (breaker, now) = (CircuitBreaker::new(), Instant::now());
        open(&breaker, now);
        let later = now + LONGEST_PAUSE;
        assert!(breaker.permits(later));
        assert_eq!(breaker.record(true, later), Some(Transition::Closed));
        open(&breaker, later);
        assert!(breaker.permits(later + FIRST_PAUSE + FIRST_PAUSE / 10), "the first pause again");
    }

    #[test]
    fn a_failure_after_the_pause_opens_the_circuit_for_longer() {
        let (breaker, mut now) = (CircuitBreaker::new(), Instant::now());
        open(&breaker, now);
        for _ in 0..5 {
            now += 2 * LONGEST_PAUSE;
            assert!(breaker.permits(now));
            assert_eq!(breaker.record(false, now), Some(Transition::Opened));
            assert!(!breaker.permits(now + FIRST_PAUSE / 2));
        }
        assert!(!breaker.permits(now + LONGEST_PAUSE / 2 - Duration::from_millis(1)));
        assert!(breaker.permits(now + LONGEST_PAUSE + LONGEST_PAUSE / 10));
    }

    #[test]
    fn results_of_earlier_calls_leave_an_open_circuit_open() {
        let (breaker, now) = (CircuitBreaker::new(), Instant::now());
        open(&breaker, now);
        assert_eq!((breaker.record(false, now), breaker.record(true, now)), (None, None));
        assert!(!breaker.permits(now));
    }
}
