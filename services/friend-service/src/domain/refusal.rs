//! The refusals of the rules. Where the original has the same refusal, the text is the original's.

use axum::http::StatusCode;

use common::error::Error;

pub fn request_to_self() -> Error {
    Error::business("Cannot send friend request to yourself")
}

pub fn block_of_self() -> Error {
    Error::business("Cannot block yourself")
}

pub fn no_such_user() -> Error {
    Error::not_found("Target user not found")
}

pub fn already_related() -> Error {
    Error::business("Friendship already exists or pending")
}

/// Does not reveal which of the two users blocked the other.
pub fn blocked() -> Error {
    Error::refused(StatusCode::FORBIDDEN, "BLOCKED", "Cannot send friend request to this user")
}

pub fn too_many_pending(limit: u64) -> Error {
    let message = format!("At most {limit} friend requests may be pending. Cancel one of them or wait for an answer");
    Error::refused(StatusCode::FORBIDDEN, "TOO_MANY_PENDING", message)
}

/// Does not reveal which of the two users has so many friends.
pub fn too_many_friends(limit: u64) -> Error {
    let message = format!("A user may have at most {limit} friends");
    Error::refused(StatusCode::FORBIDDEN, "TOO_MANY_FRIENDS", message)
}

pub fn too_many_blocked(limit: u64) -> Error {
    let message = format!("At most {limit} users may be blocked");
    Error::refused(StatusCode::FORBIDDEN, "TOO_MANY_BLOCKED", message)
}

pub fn nothing_pending() -> Error {
    Error::business("Friend request not found or already processed")
}

pub fn no_such_action() -> Error {
    Error::business("action must be either \"accept\" or \"reject\"")
}

pub fn no_friendship() -> Error {
    Error::not_found("Friendship not found")
}

pub fn not_blocked() -> Error {
    Error::not_found("User is not blocked")
}
