//! The error responses that operations share, for the OpenAPI document.

#![expect(dead_code, reason = "the types only describe responses")]

use common::error::ErrorBody;
use utoipa::IntoResponses;

const UNAUTHENTICATED: &str = "The access token is missing, invalid, expired or revoked";
const INVALID_INPUT: &str = "The input is invalid; the body has one entry for each invalid field";

/// The caller is not authenticated.
#[derive(IntoResponses)]
#[response(status = 401, description = UNAUTHENTICATED)]
pub struct Unauthenticated(ErrorBody);

/// The errors of operations on the caller's own account.
#[derive(IntoResponses)]
pub enum CallerErrors {
    #[response(status = 401, description = UNAUTHENTICATED)]
    Unauthenticated(ErrorBody),
    #[response(status = 404, description = "The caller's account does not exist")]
    AccountNotFound(ErrorBody),
}

/// The errors of a login.
#[derive(IntoResponses)]
pub enum LoginErrors {
    #[response(
        status = 401,
        description = "The account does not exist, or the password is wrong. `MFA_REQUIRED`, `MFA_INVALID`: the account has a second factor, and its code is missing or wrong"
    )]
    InvalidCredentials(ErrorBody),
    #[response(
        status = 403,
        description = "The account is deactivated. `MFA_UNAVAILABLE`: the system has no key for the second factor, so codes of the app cannot be checked; a recovery code still works"
    )]
    Forbidden(ErrorBody),
}

/// The errors of operations on a user who is named in the path.
#[derive(IntoResponses)]
pub enum UserErrors {
    #[response(status = 401, description = UNAUTHENTICATED)]
    Unauthenticated(ErrorBody),
    #[response(status = 404, description = "The user does not exist")]
    UserNotFound(ErrorBody),
    #[response(status = 422, description = "The user id is not a positive integer")]
    InvalidUserId(ErrorBody),
}

/// The errors of operations for other services.
#[derive(IntoResponses)]
pub enum ServiceErrors {
    #[response(status = 401, description = "The token is neither that of a service nor that of a user")]
    Unauthenticated(ErrorBody),
    #[response(status = 422, description = INVALID_INPUT)]
    InvalidInput(ErrorBody),
}

/// A field of the body, the query or the path is invalid.
#[derive(IntoResponses)]
#[response(status = 422, description = INVALID_INPUT)]
pub struct InvalidInput(ErrorBody);

/// One of the two factors is wrong.
#[derive(IntoResponses)]
#[response(
    status = 400,
    description = "The current password is wrong, or `MFA_INVALID`: the code is wrong or was used before"
)]
pub struct WrongFactor(ErrorBody);

/// The code of an authenticator app cannot be checked.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`MFA_UNAVAILABLE`: the system has no key for the second factor, so codes of the app cannot be checked; a recovery code still works"
)]
pub struct CodeUnavailable(ErrorBody);

/// A field of a body with a new password is invalid.
#[derive(IntoResponses)]
#[response(
    status = 422,
    description = "The input is invalid; the body has one entry for each invalid field. `password_too_common`, `password_breached`: the type of the entry for a new password that is easy to guess, or known from a data breach"
)]
pub struct InvalidNewPassword(ErrorBody);

/// The caller exceeded a rate limit.
#[derive(IntoResponses)]
#[response(status = 429, description = "The caller exceeded a rate limit; `Retry-After` says how many seconds to wait")]
pub struct RateLimited(ErrorBody);

/// The queue of the password threads is full.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "The service is overloaded with passwords to hash, or a dependency is unavailable"
)]
pub struct HashingUnavailable(ErrorBody);
