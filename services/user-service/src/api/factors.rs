//! The proofs that a caller owns the account: the password, and a code of the second factor.

use axum::http::StatusCode;
use common::error::{Error, Result};
use common::input::Text;
use service::auth::CurrentUser;

use crate::domain::EnteredCode;
use crate::passwords::Verdict;
use crate::state::AppState;
use crate::store::{ClientInfo, Credentials};

/// How often a password is verified if its stored hash keeps changing. A login that replaces an outdated hash changes
/// it once.
pub(super) const PASSWORD_ATTEMPTS: usize = 3;

/// A password to compare. The rules for new passwords do not apply: an older password may not satisfy them.
pub(super) type GivenPassword = Text<1, 1024>;

/// The message for a wrong code.
pub(super) const WRONG_CODE: &str = "The code is wrong or was used before";

/// A code of an authenticator app, or a recovery code.
pub(super) type GivenCode = Text<1, 64>;

/// The caller's account, if this is its password.
///
/// # Errors
/// Returns a 400 error for a wrong password, a 404 error without an account, and a 429 error after too many attempts.
pub(super) async fn require_password(app: &AppState, me: &CurrentUser, given: &GivenPassword) -> Result<Credentials> {
    app.budget.spend(me.id).await?;
    let account = app.accounts.existing(me.id).await?;
    let budget = app.limits.password_change(account.id);
    app.limits.check(&[&budget]).await?;
    if app.passwords.verify(&given.0, Some(&account.password_hash)).await? == Verdict::Wrong {
        app.limits.count(&[&budget]).await?;
        return Err(wrong_password());
    }
    // Concurrent attempts may have used up the budget since the first check.
    app.limits.check(&[&budget]).await?;
    Ok(account)
}

pub(super) fn wrong_password() -> Error {
    Error::business("Current password is incorrect")
}

/// The code that the caller's second factor requires; none without a second factor. It is not compared yet.
///
/// # Errors
/// Returns a 403 error if a required code is missing.
pub(super) async fn required_code(
    app: &AppState,
    me: &CurrentUser,
    code: Option<&GivenCode>,
) -> Result<Option<EnteredCode>> {
    if !app.second_factors.is_enabled(me.id).await? {
        return Ok(None);
    }
    let missing = || Error::refused(StatusCode::FORBIDDEN, "MFA_REQUIRED", "A code of the second factor is required");
    Ok(Some(EnteredCode::read(&code.ok_or_else(missing)?.0)))
}

/// Uses up a required code. A code is accepted only once, so every check that can refuse the request comes before.
///
/// # Errors
/// Returns a 400 error for a wrong code, and a 429 error after too many attempts.
pub(super) async fn use_code(app: &AppState, me: &CurrentUser, client: &ClientInfo, code: &EnteredCode) -> Result<()> {
    with_code(app.second_factors.verify(me.id, code, client)).await
}

/// Awaits the use of a code.
///
/// # Errors
/// Returns a 400 error for a wrong code, and a 429 error after too many.
pub(super) async fn with_code<T>(used: impl Future<Output = engines::error::Result<Option<T>>>) -> Result<T> {
    used.await?.ok_or_else(|| Error::refused(StatusCode::BAD_REQUEST, "MFA_INVALID", WRONG_CODE))
}
