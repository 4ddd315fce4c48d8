//! The error responses that operations share, for the OpenAPI document.

#![expect(dead_code, reason = "the types only describe responses")]

use common::error::ErrorBody;
use utoipa::IntoResponses;

#[derive(IntoResponses)]
#[response(status = 400, description = "There is no such pending request")]
pub struct NothingPending(ErrorBody);

/// The errors of operations that begin something new with a user.
#[derive(IntoResponses)]
pub enum TargetErrors {
    #[response(status = 404, description = "The user does not exist")]
    NotFound(ErrorBody),
    #[response(status = 503, description = "user-service cannot verify that the user exists")]
    Unverified(ErrorBody),
}

#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`TOO_MANY_FRIENDS`: the caller or the requester has reached the limit of friends"
)]
pub struct TooManyFriends(ErrorBody);

/// The caller writes too much.
#[derive(IntoResponses)]
#[response(status = 429, description = "The caller's budget of changes in a minute is used up; nothing was changed")]
pub struct BudgetUsedUp(ErrorBody);

#[derive(IntoResponses)]
#[response(status = 422, description = "The input is invalid")]
pub struct InvalidInput(ErrorBody);
