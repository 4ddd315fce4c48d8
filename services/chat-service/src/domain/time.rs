//! Times as MongoDB stores them: whole milliseconds.

use chrono::{DateTime, SubsecRound, Utc};

/// The current time in whole milliseconds, so that a value equals its stored form.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
