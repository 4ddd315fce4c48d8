//! Who is in a room, and who may change that.

use std::collections::HashSet;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use serde::{Deserialize, Serialize};

/// A group has no more members: a message to it is told to all of them.
pub const MAX_MEMBERS: usize = 500;

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

/// Direct rooms are for two, for ever; groups have a list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomKind {
    Direct(DirectPair),
    Group {
        name: Option<String>,
        /// Adds and removes, while a member.
        creator: Option<UserId>,
    },
}

impl RoomKind {
    /// The two of a direct room.
    pub fn pair(&self) -> Option<DirectPair> {
        match self {
            Self::Direct(pair) => Some(*pair),
            Self::Group { .. } => None,
        }
    }

    /// As the rooms' answers call it.
    pub fn as_str(&self) -> &'static str {
        if self.pair().is_some() { "direct" } else { "group" }
    }
}

/// A room and who is in it.
#[derive(Clone, Debug)]
pub struct Room {
    pub id: RoomId,
    pub kind: RoomKind,
    /// In the order in which they came.
    pub members: Vec<UserId>,
    /// The version of the last event that told of its members.
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Who came into a room, or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub joined: bool,
    pub users: Vec<UserId>,
}

impl Move {
    /// Whether it brings this one in, or out; none for everybody else.
    pub fn of(&self, user: UserId) -> Option<bool> {
        self.users.contains(&user).then_some(self.joined)
    }
}

impl Room {
    /// Only members read or write.
    pub fn admit(&self, user: UserId) -> Result<()> {
        if self.members.contains(&user) {
            return Ok(());
        }
        Err(Error::forbidden("Access denied to this chat room"))
    }

    /// As messages call the kind of their room.
    pub fn message_kind(&self) -> &'static str {
        if self.kind.pair().is_some() { "private" } else { "group" }
    }

    /// Which of these would come in anew, if `by` may bring them in.
    pub fn newcomers(&self, by: UserId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.admit(by)?;
        if self.creator()? != Some(by) {
            return Err(Error::forbidden("Only the creator of the group adds members"));
        }
        let known: HashSet<UserId> = self.members.iter().copied().collect();
        let new = once_each(users).into_iter().filter(|user| !known.contains(user)).collect::<Vec<_>>();
        if self.members.len() + new.len() > MAX_MEMBERS {
            return Err(too_many());
        }
        Ok(new)
    }

    /// Whether `by` may bring `user` out; everybody may go.
    pub fn may_remove(&self, by: UserId, user: UserId) -> Result<()> {
        self.admit(by)?;
        let creator = self.creator()?;
        if by != user && creator != Some(by) {
            return Err(Error::forbidden("Only the creator of the group removes members"));
        }
        if !self.members.contains(&user) {
            return Err(Error::not_found("No such member"));
        }
        Ok(())
    }

    fn creator(&self) -> Result<Option<UserId>> {
        match &self.kind {
            RoomKind::Group { creator, .. } => Ok(*creator),
            RoomKind::Direct(_) => Err(refused("A direct room has no other members")),
        }
    }

    /// The room after a move.
    pub fn after(&self, moved: &Move, version: u64) -> Self {
        let mut room = Self { version, ..self.clone() };
        room.members.retain(|member| !moved.users.contains(member));
        if moved.joined {
            room.members.extend(&moved.users);
        }
        room
    }
}

/// Whom someone opens a room with: repeats and they themselves count for nothing.
pub fn others(me: UserId, users: &[UserId]) -> Result<Vec<UserId>> {
    let mut others = once_each(users);
    others.retain(|user| *user != me);
    if others.is_empty() {
        return Err(refused("A chat room needs at least one other participant"));
    }
    if others.len() >= MAX_MEMBERS {
        return Err(too_many());
    }
    Ok(others)
}

fn once_each(users: &[UserId]) -> Vec<UserId> {
    let mut seen = HashSet::new();
    users.iter().copied().filter(|user| seen.insert(*user)).collect()
}

fn too_many() -> Error {
    refused("A group has at most 500 members")
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", message)
}

/// How many people a system message names; of more it says the number.
const NAMED: usize = 10;

/// What the system says in a room of people that someone brought in.
pub fn said_of_newcomers(by: &str, names: &[&str]) -> String {
    match names {
        [one] => format!("{by} added {one}"),
        [first @ .., last] if names.len() <= NAMED => format!("{by} added {} and {last}", first.join(", ")),
        many => format!("{by} added {} and {} others", many[..NAMED].join(", "), many.len() - NAMED),
    }
}

/// What the system says of someone who went, or was sent.
pub fn said_of_leaver(by: &str, removed: Option<&str>) -> String {
    match removed {
        Some(name) => format!("{by} removed {name}"),
        None => format!("{by} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const EVE: UserId = UserId(3);

    fn room(kind: RoomKind, members: Vec<UserId>) -> Room {
        let now = Utc::now();
        Room { id: RoomId(9), kind, members, version: 1, created_at: now, updated_at: now }
    }

    fn group() -> Room {
        room(RoomKind::Group { name: None, creator: Some(ANN) }, vec![ANN, BOB])
    }

    fn direct() -> Room {
        room(RoomKind::Direct(DirectPair::of(ANN, BOB).unwrap()), vec![ANN, BOB])
    }

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        assert_eq!(DirectPair::of(UserId(7), UserId(3)).unwrap(), DirectPair::of(UserId(3), UserId(7)).unwrap());
    }

    #[test]
    fn nobody_chats_with_themselves() {
        assert!(DirectPair::of(UserId(7), UserId(7)).is_err());
        assert!(others(ANN, &[ANN, ANN]).is_err());
    }

    #[test]
    fn only_members_are_admitted() {
        for room in [direct(), group()] {
            assert!(room.admit(ANN).is_ok() && room.admit(BOB).is_ok() && room.admit(EVE).is_err());
        }
    }

    #[test]
    fn the_creator_adds_whoever_is_not_in_yet() {
        assert_eq!(group().newcomers(ANN, &[BOB, EVE, EVE]).unwrap(), [EVE]);
        assert!(group().newcomers(BOB, &[EVE]).is_err() && group().newcomers(EVE, &[EVE]).is_err());
        let left = group().after(&Move { joined: false, users: vec![ANN] }, 2);
        assert!(left.newcomers(ANN, &[EVE]).is_err(), "who left adds nobody");
    }

    #[test]
    fn the_creator_removes_and_everybody_may_leave() {
        assert!(group().may_remove(ANN, BOB).is_ok());
        assert!(group().may_remove(ANN, ANN).is_ok() && group().may_remove(BOB, BOB).is_ok());
        assert!(group().may_remove(BOB, ANN).is_err() && group().may_remove(ANN, EVE).is_err());
    }

    #[test]
    fn a_direct_room_stays_as_it_is() {
        assert!(direct().newcomers(ANN, &[EVE]).is_err() && direct().may_remove(ANN, ANN).is_err());
    }

    #[test]
    fn a_group_is_full_with_five_hundred() {
        let users = |n: i64| (10..10 + n).map(UserId).collect::<Vec<_>>();
        assert!(group().newcomers(ANN, &users(498)).is_ok() && group().newcomers(ANN, &users(499)).is_err());
        assert!(others(ANN, &users(499)).is_ok() && others(ANN, &users(500)).is_err());
    }

    #[test]
    fn a_system_message_names_ten_at_most() {
        assert_eq!(said_of_newcomers("ann", &["bob"]), "ann added bob");
        assert_eq!(said_of_newcomers("ann", &["bob", "eve", "joe"]), "ann added bob, eve and joe");
        assert!(said_of_newcomers("ann", &["x"; 12]).ends_with(" and 2 others"));
    }
}
