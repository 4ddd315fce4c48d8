//! The user who makes a change.

use common::id::UserId;

/// A user who changes a room, with the name that system messages show.
#[derive(Clone, Debug)]
pub struct Actor {
    pub id: UserId,
    pub name: Option<String>,
}
