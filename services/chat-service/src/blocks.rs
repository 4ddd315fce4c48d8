//! The acts that a block between two users forbids.
//!
//! Two members of a group whom a third user added may read each other there, whatever their blocks. A user who does not want
//! that leaves the group, and nobody adds them again (`store::leavers`).

use axum::http::StatusCode;
use common::error::{Error, Result};
use common::id::UserId;
use service::blocks::Blocks;

use crate::domain::Room;

/// Checks that no block exists between the members of a direct room.
///
/// # Errors
/// Refuses with `BLOCKED` if one of the two has blocked the other, and with 503 while that is unknown after the start.
pub fn allow_messages(blocks: &Blocks, room: &Room) -> Result<()> {
    let Some(pair) = room.kind.pair() else { return Ok(()) };
    if blocks.between(pair.low, pair.high)? {
        return Err(refused("Messages between these users are blocked"));
    }
    Ok(())
}

/// Checks that no block exists between a user and the users whom they bring into a room.
///
/// # Errors
/// Refuses the whole list with `BLOCKED`, without the name of the user or the direction of the block, and with 503 while the
/// blocks are unknown after the start.
pub fn allow_invitation(blocks: &Blocks, by: UserId, invited: &[UserId]) -> Result<()> {
    for user in invited {
        if blocks.between(by, *user)? {
            return Err(refused("You cannot start a chat with one of these users"));
        }
    }
    Ok(())
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::FORBIDDEN, "BLOCKED", message)
}
