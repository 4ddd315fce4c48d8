//! Writes of a user within a minute, for tests of the budgets of writes.

use std::time::{Duration, SystemTime};

use crate::Answer;

/// The seconds that a test may take to use up a budget.
const ENOUGH: u64 = 15;

/// Waits for the next minute if this one ends soon.
pub async fn early_in_a_minute() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let left = 60 - now.as_secs() % 60;
    if left < ENOUGH {
        tokio::time::sleep(Duration::from_secs(left)).await;
    }
}

/// Repeats an act so often, and returns how often it was accepted.
///
/// # Panics
/// Panics if an answer is neither a success nor a 429 that says when the minute ends.
pub async fn accepted(times: usize, act: impl AsyncFn() -> Answer) -> usize {
    let mut accepted = 0;
    for _ in 0..times {
        let answer = act().await;
        if answer.ok() {
            accepted += 1;
            continue;
        }
        let wait = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
        assert!(wait.is_some_and(|wait: u64| (1..=60).contains(&wait)), "{}: {wait:?}", answer.text);
        assert_eq!(answer.expect(429)["error"], "rate_limit_exceeded");
    }
    accepted
}
