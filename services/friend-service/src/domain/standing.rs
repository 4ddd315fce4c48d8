//! How two people stand at this moment, and what that allows.

use common::error::Result;
use common::id::UserId;

use crate::domain::refusal;

/// All that lies between two people while their pair is locked.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub relation: Option<Relation>,
    /// One of them has blocked the other.
    pub blocked: bool,
}

/// A live relation: a request that waits for its answer, or a friendship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub id: i64,
    pub requester: UserId,
    pub addressee: UserId,
    pub status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Accepted,
}

impl Status {
    /// As the table and the wire name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
        }
    }

    pub fn read(text: &str) -> Self {
        if text == Self::Accepted.as_str() { Self::Accepted } else { Self::Pending }
    }
}

impl Standing {
    pub fn is_nothing(&self) -> bool {
        self.relation.is_none() && !self.blocked
    }

    /// Whether one of them may ask the other.
    pub fn may_request(&self) -> Result<()> {
        match self.relation {
            _ if self.blocked => Err(refusal::blocked()),
            Some(_) => Err(refusal::already_related()),
            None => Ok(()),
        }
    }

    /// The request of `requester` that waits for an answer.
    pub fn pending_from(&self, requester: UserId) -> Result<Relation> {
        let waits = |relation: &Relation| relation.status == Status::Pending && relation.requester == requester;
        self.relation.clone().filter(waits).ok_or_else(refusal::nothing_pending)
    }

    /// The friendship between them.
    pub fn friendship(&self) -> Result<Relation> {
        let accepted = |relation: &Relation| relation.status == Status::Accepted;
        self.relation.clone().filter(accepted).ok_or_else(refusal::no_friendship)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn standing(status: Status) -> Standing {
        let relation = Relation { id: 5, requester: ANN, addressee: BOB, status };
        Standing { relation: Some(relation), blocked: false }
    }

    #[test]
    fn strangers_may_ask_each_other() {
        assert!(Standing::default().may_request().is_ok());
    }

    #[test]
    fn who_already_relates_may_not_ask() {
        assert!(standing(Status::Pending).may_request().is_err());
        assert!(standing(Status::Accepted).may_request().is_err());
    }

    #[test]
    fn a_block_forbids_asking() {
        assert!(Standing { relation: None, blocked: true }.may_request().is_err());
    }

    #[test]
    fn only_who_asked_has_a_request_pending() {
        assert_eq!(standing(Status::Pending).pending_from(ANN).unwrap().id, 5);
        assert!(standing(Status::Pending).pending_from(BOB).is_err());
        assert!(standing(Status::Accepted).pending_from(ANN).is_err());
        assert!(Standing::default().pending_from(ANN).is_err());
    }

    #[test]
    fn a_request_is_no_friendship() {
        assert!(standing(Status::Accepted).friendship().is_ok());
        assert!(standing(Status::Pending).friendship().is_err());
        assert!(Standing::default().friendship().is_err());
    }
}
