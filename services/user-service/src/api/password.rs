//! Changing the password.

use axum::Json;
use axum::extract::State;
use common::error::{Error, ErrorBody, Result};
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use platform::http::Valid;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::new_password;
use super::responses::{CallerErrors, HashingUnavailable, InvalidInput, RateLimited, WrongFactor};
use super::second_factor::{GivenCode, require_second_factor};
use crate::domain::NewPassword;
use crate::passwords::Verdict;
use crate::state::AppState;
use crate::store::{ClientInfo, Credentials};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change_password))
}

/// How often a password is verified if its stored hash keeps changing. A login that replaces an outdated hash changes
/// it once.
pub(super) const PASSWORD_ATTEMPTS: usize = 3;

/// A password to compare. The rules for new passwords do not apply: an older password may not satisfy them.
pub(super) type GivenPassword = Text<1, 1024>;

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct PasswordChange {
    #[schema(value_type = String, min_length = 1, max_length = 1024, example = "Ta11-tulips!")]
    current_password: GivenPassword,
    /// Satisfies the rule for passwords of a registration.
    new_password: NewPassword,
    /// A code of the authenticator app, or a recovery code, of an account with a second factor.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, example = "123456")]
    code: Option<GivenCode>,
}

impl Input for PasswordChange {}

#[derive(Serialize, ToSchema)]
struct PasswordChanged {
    #[schema(example = "Password changed successfully")]
    message: &'static str,
}

/// Change the caller's password. All other sessions of the caller end.
#[utoipa::path(
    put,
    path = "/auth/password",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = PasswordChange,
    responses(
        (status = 200, description = "The password was changed", body = PasswordChanged),
        WrongFactor,
        (status = 403, description = "`MFA_REQUIRED`: the account has a second factor, and its code is missing", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn change_password(
    State(app): State<AppState>,
    me: CurrentUser,
    client: ClientInfo,
    change: Result<Valid<PasswordChange>>,
) -> Result<Json<PasswordChanged>> {
    let change = new_password::by_rule(&app, change, "new_password", |change| &change.new_password)?;
    let changed = replace_password(&app, &me, &client, &change).await;
    app.audit.record("password_change", Some(me.id), "", &changed);
    changed.map(|()| Json(PasswordChanged { message: "Password changed successfully" }))
}

/// Verifies the current password and stores the new one. If the stored hash changes in between, it is verified again.
async fn replace_password(
    app: &AppState,
    me: &CurrentUser,
    client: &ClientInfo,
    change: &PasswordChange,
) -> Result<()> {
    let mut proven = false;
    for _ in 0..PASSWORD_ATTEMPTS {
        let account = require_password(app, me, &change.current_password).await?;
        if !proven {
            // A code is accepted only once.
            require_second_factor(app, me, client, change.code.as_ref()).await?;
            proven = true;
        }
        let (username, email) = (&account.username, &account.email);
        let hash = new_password::hash(app, &change.new_password, "new_password", username, email).await?;
        let changed = app.sessions.change_password(me, &account.password_hash, &hash, client).await?;
        if let Some(ended) = changed {
            app.publish_revocations(&ended).await;
            return Ok(());
        }
    }
    Err(wrong_password())
}

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

fn wrong_password() -> Error {
    Error::business("Current password is incorrect")
}
