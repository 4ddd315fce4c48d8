//! The objects of the audit log.

use std::fmt;

use common::id::{RoomId, UserId};

/// A room and the users who join or leave it, as `765/3095,3097`. A group has at most 500 members, which bounds the line.
pub(super) struct Roster<'a> {
    /// None if the room was not created.
    pub room: Option<RoomId>,
    pub users: &'a [UserId],
}

impl fmt::Display for Roster<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(room) = self.room {
            room.fmt(f)?;
        }
        for (n, user) in self.users.iter().enumerate() {
            let separator = if n == 0 { '/' } else { ',' };
            write!(f, "{separator}{user}")?;
        }
        Ok(())
    }
}
