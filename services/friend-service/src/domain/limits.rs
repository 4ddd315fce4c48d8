//! The limits on the requests that a user sends, on friends and on blocks.

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

/// How many friends a user may have, and how many users a user may block.
///
/// Every replica of user-service and of chat-service holds all blocks, and a list of friends is read as a whole.
#[derive(Clone, Copy, Debug)]
pub struct RelationLimits {
    pub friends: u64,
    pub blocked: u64,
}

impl RelationLimits {
    /// `friends` is the number of friends that one of the two users has, counted up to the limit.
    ///
    /// # Errors
    /// Refuses a further friend at the limit.
    pub fn allow_friend(&self, friends: u64) -> Result<()> {
        if friends >= self.friends { Err(refusal::too_many_friends(self.friends)) } else { Ok(()) }
    }

    /// `blocked` is the number of users whom a user blocks, counted up to the limit.
    ///
    /// # Errors
    /// Refuses a further block at the limit.
    pub fn allow_block(&self, blocked: u64) -> Result<()> {
        if blocked >= self.blocked { Err(refusal::too_many_blocked(self.blocked)) } else { Ok(()) }
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
    fn a_further_friend_or_block_is_refused_at_its_limit() {
        let limits = RelationLimits { friends: 5, blocked: 2 };
        assert!(limits.allow_friend(4).is_ok() && limits.allow_block(1).is_ok());
        assert_eq!(limits.allow_friend(5).unwrap_err().code(), "TOO_MANY_FRIENDS");
        assert_eq!(limits.allow_block(2).unwrap_err().code(), "TOO_MANY_BLOCKED");
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(code(RequestLimits { pending: 0, ended: 0 }, 5_000, 5_000), None);
    }
}
