//! A room, its members, and the rules for changing them.

use std::collections::HashSet;
use std::fmt::Arguments;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::text::{changes_direction, is_blank};
use serde::{Deserialize, Serialize};

/// Limit on the members of a group. Each message of a group goes to all of them.
pub const MAX_MEMBERS: usize = 500;

/// Two users in ascending order of their ids. The direct room of two users is unique under this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectPair {
    pub low: UserId,
    pub high: UserId,
}

impl DirectPair {
    /// # Errors
    /// Refuses two equal ids with `CANNOT_CHAT_SELF`.
    pub fn of(a: UserId, b: UserId) -> Result<Self> {
        if a == b {
            let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "CANNOT_CHAT_SELF");
            return Err(Error::refused(status, code, "Cannot create chat room with yourself"));
        }
        Ok(Self { low: a.min(b), high: a.max(b) })
    }

    /// The user of the pair who is not `user`.
    pub fn other(self, user: UserId) -> UserId {
        if user == self.low { self.high } else { self.low }
    }
}

/// A direct room has two fixed members. A group has a list of members that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomKind {
    Direct(DirectPair),
    Group {
        name: Option<String>,
        /// The user who adds and removes members, as long as they are a member.
        creator: Option<UserId>,
    },
}

impl RoomKind {
    /// The pair of a direct room; `None` for a group.
    pub fn pair(&self) -> Option<DirectPair> {
        match self {
            Self::Direct(pair) => Some(*pair),
            Self::Group { .. } => None,
        }
    }

    /// The value of `room_type` in answers about rooms.
    pub fn as_str(&self) -> &'static str {
        if self.pair().is_some() { "direct" } else { "group" }
    }
}

/// A room and its members.
#[derive(Clone, Debug)]
pub struct Room {
    pub id: RoomId,
    pub kind: RoomKind,
    /// In the order of joining.
    pub members: Vec<UserId>,
    /// The version of the last event about its members.
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Users who joined or left a group together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterChange {
    pub joined: bool,
    pub users: Vec<UserId>,
}

impl RosterChange {
    /// True if the user joined, false if they left, `None` if the change does not concern them.
    pub fn joined(&self, user: UserId) -> Option<bool> {
        self.users.contains(&user).then_some(self.joined)
    }
}

impl Room {
    /// # Errors
    /// Refuses everyone who is not a member.
    pub fn admit(&self, user: UserId) -> Result<()> {
        if self.members.contains(&user) {
            return Ok(());
        }
        Err(Error::forbidden("Access denied to this chat room"))
    }

    /// The value of `room_type` in messages.
    pub fn message_kind(&self) -> &'static str {
        if self.kind.pair().is_some() { "private" } else { "group" }
    }

    /// The users among `users` who are not members yet.
    ///
    /// # Errors
    /// Refuses everyone but the creator, and more than [`MAX_MEMBERS`] members.
    pub fn newcomers(&self, by: UserId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.admit(by)?;
        if self.creator()? != Some(by) {
            return Err(Error::forbidden("Only the creator of the group can add members"));
        }
        let members: HashSet<UserId> = self.members.iter().copied().collect();
        let new = distinct(users).into_iter().filter(|user| !members.contains(user)).collect::<Vec<_>>();
        if self.members.len() + new.len() > MAX_MEMBERS {
            return Err(too_many());
        }
        Ok(new)
    }

    /// # Errors
    /// Refuses the removal of another member by anyone but the creator. Every member may leave.
    pub fn may_remove(&self, by: UserId, user: UserId) -> Result<()> {
        self.admit(by)?;
        let creator = self.creator()?;
        if by != user && creator != Some(by) {
            return Err(Error::forbidden("Only the creator of the group can remove members"));
        }
        if !self.members.contains(&user) {
            return Err(Error::not_found("No such member"));
        }
        Ok(())
    }

    /// The creator of a group.
    ///
    /// # Errors
    /// Refuses a direct room, whose members are fixed.
    pub fn creator(&self) -> Result<Option<UserId>> {
        match &self.kind {
            RoomKind::Group { creator, .. } => Ok(*creator),
            RoomKind::Direct(_) => Err(refused("The members of a direct room cannot change")),
        }
    }

    /// The room after a change of its members.
    pub fn after(&self, change: &RosterChange, version: u64) -> Self {
        let mut room = Self { version, ..self.clone() };
        room.members.retain(|member| !change.users.contains(member));
        if change.joined {
            room.members.extend(&change.users);
        }
        room
    }
}

/// The other users of a new room: repeats and the caller's own id are dropped.
///
/// # Errors
/// Refuses an empty list, and more than [`MAX_MEMBERS`] members.
pub fn others(me: UserId, users: &[UserId]) -> Result<Vec<UserId>> {
    let mut others = distinct(users);
    others.retain(|user| *user != me);
    if others.is_empty() {
        return Err(refused("A chat room needs at least one other participant"));
    }
    if others.len() >= MAX_MEMBERS {
        return Err(too_many());
    }
    Ok(others)
}

/// The name of a new group: without white space at its ends, and none if it has no visible character.
///
/// # Errors
/// Refuses a name that changes the direction of the text around it, or has a control character or the end of a line.
pub fn group_name(name: &str) -> Result<Option<&str>> {
    let name = name.trim();
    if changes_direction(name) {
        return Err(refused("The name of a group must not change the direction of the text"));
    }
    if name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(refused("The name of a group must be one line without control characters"));
    }
    Ok(Some(name).filter(|name| !is_blank(name)))
}

/// # Errors
/// Refuses the addition of users who left the group by themselves within the last `days` days.
pub fn refuse_leavers(leavers: &[UserId], days: u64) -> Result<()> {
    if leavers.is_empty() {
        return Ok(());
    }
    let ids = leavers.iter().take(MAX_NAMED).map(UserId::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("A user who left the group cannot be added again for {days} days: {ids}");
    Err(Error::refused(StatusCode::FORBIDDEN, "LEFT_GROUP", message))
}

/// # Errors
/// Refuses a room for users who have `limit` rooms already.
pub fn refuse_too_many_rooms(full: &[UserId], limit: u64) -> Result<()> {
    too_many_rooms(full, format_args!("A user can have at most {limit} rooms"))
}

/// # Errors
/// Refuses a group for users whom its creator has brought into `limit` groups already.
pub fn refuse_too_many_of_creator(full: &[UserId], limit: u64) -> Result<()> {
    too_many_rooms(full, format_args!("A user can be in at most {limit} groups of the same creator"))
}

fn too_many_rooms(full: &[UserId], rule: Arguments<'_>) -> Result<()> {
    if full.is_empty() {
        return Ok(());
    }
    let ids = full.iter().take(MAX_NAMED).map(UserId::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::refused(StatusCode::FORBIDDEN, "TOO_MANY_ROOMS", format!("{rule}: {ids}")))
}

/// # Errors
/// Refuses to bring users into a group whom only `friends` can bring into one, if they are not among these.
pub fn refuse_strangers(reserved: &[UserId], friends: &HashSet<UserId>) -> Result<()> {
    let refusing: Vec<&UserId> = reserved.iter().filter(|user| !friends.contains(user)).collect();
    if refusing.is_empty() {
        return Ok(());
    }
    let ids = refusing.iter().take(MAX_NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("Only friends can bring these users into a group: {ids}");
    Err(Error::refused(StatusCode::FORBIDDEN, "FRIENDS_ONLY", message))
}

/// The users without repeats.
pub fn distinct(users: &[UserId]) -> Vec<UserId> {
    let mut seen = HashSet::new();
    users.iter().copied().filter(|user| seen.insert(*user)).collect()
}

fn too_many() -> Error {
    refused("A group has at most 500 members")
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", message)
}

/// Limit on the users that a text names. A system message gives the number of the others.
const MAX_NAMED: usize = 10;

/// The text of the system message about users who were added.
pub fn joined_message(by: &str, names: &[&str]) -> String {
    match names {
        [one] => format!("{by} added {one}"),
        [first @ .., last] if names.len() <= MAX_NAMED => format!("{by} added {} and {last}", first.join(", ")),
        many => format!("{by} added {} and {} others", many[..MAX_NAMED].join(", "), many.len() - MAX_NAMED),
    }
}

/// The text of the system message about a user who left or was removed.
pub fn left_message(by: &str, removed: Option<&str>) -> String {
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
    fn a_pair_does_not_depend_on_argument_order() {
        assert_eq!(DirectPair::of(UserId(7), UserId(3)).unwrap(), DirectPair::of(UserId(3), UserId(7)).unwrap());
    }

    #[test]
    fn a_room_needs_another_user() {
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
    fn the_creator_adds_users_who_are_not_members() {
        assert_eq!(group().newcomers(ANN, &[BOB, EVE, EVE]).unwrap(), [EVE]);
        assert!(group().newcomers(BOB, &[EVE]).is_err() && group().newcomers(EVE, &[EVE]).is_err());
        let left = group().after(&RosterChange { joined: false, users: vec![ANN] }, 2);
        assert!(left.newcomers(ANN, &[EVE]).is_err(), "a creator who left adds nobody");
    }

    #[test]
    fn the_creator_removes_members_and_every_member_may_leave() {
        assert!(group().may_remove(ANN, BOB).is_ok());
        assert!(group().may_remove(ANN, ANN).is_ok() && group().may_remove(BOB, BOB).is_ok());
        assert!(group().may_remove(BOB, ANN).is_err() && group().may_remove(ANN, EVE).is_err());
    }

    #[test]
    fn the_members_of_a_direct_room_do_not_change() {
        assert!(direct().newcomers(ANN, &[EVE]).is_err() && direct().may_remove(ANN, ANN).is_err());
    }

    #[test]
    fn a_group_has_at_most_five_hundred_members() {
        let users = |n: i64| (10..10 + n).map(UserId).collect::<Vec<_>>();
        assert!(group().newcomers(ANN, &users(498)).is_ok() && group().newcomers(ANN, &users(499)).is_err());
        assert!(others(ANN, &users(499)).is_ok() && others(ANN, &users(500)).is_err());
    }

    #[test]
    fn the_name_of_a_group_shows_something_and_keeps_the_direction() {
        assert_eq!(group_name(" Team\u{3000}").unwrap(), Some("Team"));
        assert_eq!(group_name("קבוצה\u{200f}").unwrap(), Some("קבוצה\u{200f}"));
        for blank in ["", " ", "\u{3164}", "\u{200b}\u{2800}"] {
            assert_eq!(group_name(blank).unwrap(), None, "{blank:?}");
        }
        assert!(group_name("Team\u{202e}maeT").is_err());
        for name in ["a\u{1}b", "a\u{7f}b", "a\nb", "a\u{2028}b"] {
            assert!(group_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_user_whom_only_friends_bring_into_groups_refuses_strangers() {
        let friends = HashSet::from([BOB]);
        assert!(refuse_strangers(&[], &HashSet::new()).is_ok() && refuse_strangers(&[BOB], &friends).is_ok());
        assert!(refuse_strangers(&[BOB, EVE], &friends).unwrap_err().to_string().ends_with(": 3"));
    }

    #[test]
    fn a_system_message_names_at_most_ten_users() {
        assert_eq!(joined_message("ann", &["bob"]), "ann added bob");
        assert_eq!(joined_message("ann", &["bob", "eve", "joe"]), "ann added bob, eve and joe");
        assert!(joined_message("ann", &["x"; 12]).ends_with(" and 2 others"));
    }
}
