//! The limits on the requests that a user sends.

use std::time::Duration;

use common::error::{Error, Result};

use crate::domain::refusal;

/// How many requests a user may send. 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// The requests of a user that are pending at a time.
    pub pending: u64,
    /// The requests of a user to another one that end within a day without an acceptance. Requests beyond them wait.
    pub ended: u64,
}

/// The requests that a user has sent. They do not change while the sender is locked.
#[derive(Clone, Copy, Debug)]
pub struct SentRequests {
    /// The pending requests of the user, counted up to the limit.
    pub pending: u64,
    /// The requests to the addressee that were cancelled or rejected within the last day.
    pub ended: u64,
    /// The time until the oldest of them ended a day ago.
    pub wait: Duration,
}

impl RequestLimits {
    /// # Errors
    /// Refuses a further request at either limit.
    pub fn allow(&self, sent: SentRequests) -> Result<()> {
        if self.pending != 0 && sent.pending >= self.pending {
            return Err(refusal::too_many_pending(self.pending));
        }
        if self.ended != 0 && sent.ended >= self.ended {
            return Err(Error::TooMany { retry_after: sent.wait });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(limits: RequestLimits, pending: u64, ended: u64) -> Option<&'static str> {
        limits.allow(SentRequests { pending, ended, wait: Duration::from_secs(9) }).err().map(|e| e.code())
    }

    #[test]
    fn a_request_is_refused_at_either_limit() {
        let limits = RequestLimits { pending: 200, ended: 4 };
        assert_eq!(code(limits, 199, 3), None);
        assert_eq!(code(limits, 200, 0), Some("TOO_MANY_PENDING"));
        assert_eq!(code(limits, 0, 4), Some("rate_limit_exceeded"));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(code(RequestLimits { pending: 0, ended: 0 }, 5_000, 5_000), None);
    }
}
