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

use super::accounts::too_long_for_bcrypt;
use super::responses::{CallerErrors, HashingUnavailable, InvalidInput, RateLimited};
use crate::domain::NewPassword;
use crate::passwords::Verdict;
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change_password))
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct PasswordChange {
    #[schema(value_type = String, example = "Passw0rd!")]
    current_password: Text<1, 1024>,
    new_password: NewPassword,
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
        (status = 400, description = "The current password is wrong", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn change_password(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(change): Valid<PasswordChange>,
) -> Result<Json<PasswordChanged>> {
    if !app.passwords.can_hash(&change.new_password) {
        return Err(too_long_for_bcrypt("new_password"));
    }
    let account = app.accounts.by_id(me.id).await?.ok_or_else(|| Error::not_found("User not found"))?;
    let budget = app.limits.password_change(account.id);
    app.limits.check(&[&budget]).await?;
    let verdict = app.passwords.verify(&change.current_password.0, Some(&account.password_hash)).await?;
    if verdict == Verdict::Wrong {
        app.limits.count(&[&budget]).await?;
        return Err(Error::business("Current password is incorrect"));
    }
    app.limits.check(&[&budget]).await?;
    let hash = app.passwords.hash(change.new_password.as_str()).await?;
    for sid in app.sessions.change_password(me.id, &hash, &me.session).await? {
        app.publish_revocation(&sid).await;
    }
    Ok(Json(PasswordChanged { message: "Password changed successfully" }))
}
