//! The current relationship of two users, and the changes that it allows.

use common::error::Result;
use common::id::UserId;

use crate::domain::refusal;

/// The live relation and the blocks of a pair. It does not change while the pair is locked.
#[derive(Clone, Debug, Default)]
pub struct Relationship {
    pub relation: Option<Relation>,
    /// One of the two has blocked the other.
    pub blocked: bool,
}

/// A live relation: a pending request, or a friendship.
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
    /// The value in the table and in answers.
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

impl Relationship {
    pub fn is_empty(&self) -> bool {
        self.relation.is_none() && !self.blocked
    }

    /// # Errors
    /// Refuses a request if the two are related, or one has blocked the other.
    pub fn allow_request(&self) -> Result<()> {
        match self.relation {
            _ if self.blocked => Err(refusal::blocked()),
            Some(_) => Err(refusal::already_related()),
            None => Ok(()),
        }
    }

    /// The pending request of `requester`.
    ///
    /// # Errors
    /// Refuses if there is none.
    pub fn pending_from(&self, requester: UserId) -> Result<Relation> {
        let is_pending = |relation: &Relation| relation.status == Status::Pending && relation.requester == requester;
        self.relation.clone().filter(is_pending).ok_or_else(refusal::nothing_pending)
    }

    /// The friendship of the two.
    ///
    /// # Errors
    /// Refuses if there is none.
    pub fn friendship(&self) -> Result<Relation> {
        let is_accepted = |relation: &Relation| relation.status == Status::Accepted;
        self.relation.clone().filter(is_accepted).ok_or_else(refusal::no_friendship)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn relationship(status: Status) -> Relationship {
        let relation = Relation { id: 5, requester: ANN, addressee: BOB, status };
        Relationship { relation: Some(relation), blocked: false }
    }

    #[test]
    fn unrelated_users_may_send_a_request() {
        assert!(Relationship::default().allow_request().is_ok());
    }

    #[test]
    fn related_users_may_not_send_a_request() {
        assert!(relationship(Status::Pending).allow_request().is_err());
        assert!(relationship(Status::Accepted).allow_request().is_err());
    }

    #[test]
    fn a_block_forbids_requests() {
        assert!(Relationship { relation: None, blocked: true }.allow_request().is_err());
    }

    #[test]
    fn a_pending_request_belongs_to_its_requester() {
        assert_eq!(relationship(Status::Pending).pending_from(ANN).unwrap().id, 5);
        assert!(relationship(Status::Pending).pending_from(BOB).is_err());
        assert!(relationship(Status::Accepted).pending_from(ANN).is_err());
        assert!(Relationship::default().pending_from(ANN).is_err());
    }

    #[test]
    fn a_pending_request_is_not_a_friendship() {
        assert!(relationship(Status::Accepted).friendship().is_ok());
        assert!(relationship(Status::Pending).friendship().is_err());
        assert!(Relationship::default().friendship().is_err());
    }
}
