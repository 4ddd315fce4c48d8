//! Who is in a room.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};

/// Two people in one order: the key under which their direct room is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectPair {
    pub low: UserId,
    pub high: UserId,
}

impl DirectPair {
    /// Fails for one person twice.
    pub fn of(a: UserId, b: UserId) -> Result<Self> {
        if a == b {
            let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "CANNOT_CHAT_SELF");
            return Err(Error::refused(status, code, "Cannot create chat room with yourself"));
        }
        Ok(Self { low: a.min(b), high: a.max(b) })
    }

    /// The one of the two who is not `user`.
    pub fn other(self, user: UserId) -> UserId {
        if user == self.low { self.high } else { self.low }
    }
}

/// A room and who is in it. Direct rooms name their two people, groups have a list of members.
#[derive(Clone, Debug)]
pub struct Room {
    pub id: RoomId,
    pub pair: Option<DirectPair>,
    pub members: Vec<UserId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Room {
    /// Only members read or write.
    pub fn admit(&self, user: UserId) -> Result<()> {
        if self.members.contains(&user) {
            return Ok(());
        }
        Err(Error::forbidden("Access denied to this chat room"))
    }

    /// As the rooms' answers call it.
    pub fn kind(&self) -> &'static str {
        if self.pair.is_some() { "direct" } else { "group" }
    }

    /// As messages call the kind of their room.
    pub fn message_kind(&self) -> &'static str {
        if self.pair.is_some() { "private" } else { "group" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        assert_eq!(DirectPair::of(UserId(7), UserId(3)).unwrap(), DirectPair::of(UserId(3), UserId(7)).unwrap());
    }

    #[test]
    fn nobody_chats_with_themselves() {
        assert!(DirectPair::of(UserId(7), UserId(7)).is_err());
    }

    #[test]
    fn only_members_are_admitted() {
        let (now, pair) = (Utc::now(), DirectPair::of(UserId(1), UserId(2)).unwrap());
        let members = vec![pair.low, pair.high];
        let room = Room { id: RoomId(9), pair: Some(pair), members, created_at: now, updated_at: now };
        assert!(room.admit(UserId(1)).is_ok() && room.admit(UserId(2)).is_ok());
        assert!(room.admit(UserId(3)).is_err());
    }
}
