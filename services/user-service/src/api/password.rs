//! Changing the password.

use axum::Json;
use axum::extract::State;
use common::error::{ErrorBody, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::Valid;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::factors::{
    GivenCode, GivenPassword, PASSWORD_ATTEMPTS, require_password, required_code, use_code, wrong_password,
};
use super::new_password;
use super::responses::{CallerErrors, HashingUnavailable, InvalidNewPassword, RateLimited, WrongFactor};
use crate::domain::NewPassword;
use crate::state::AppState;
use crate::store::ClientInfo;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change_password))
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"current_password": "Ta11-tulips!", "new_password": "Red-r0ses-in-May"}))]
struct PasswordChange {
    #[schema(value_type = String, min_length = 1, max_length = 1024)]
    current_password: GivenPassword,
    /// Satisfies the rule for passwords of a registration.
    new_password: NewPassword,
    /// A code of the authenticator app, or a recovery code, of an account with a second factor.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
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
    operation_id = "changePassword",
    path = "/auth/password",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = PasswordChange,
    responses(
        (status = 200, description = "The password was changed", body = PasswordChanged),
        WrongFactor,
        (status = 403, description = "`MFA_REQUIRED`: the account has a second factor, and its code is missing; `MFA_UNAVAILABLE`: the system has no key for it, and a recovery code still works", body = ErrorBody),
        CallerErrors,
        InvalidNewPassword,
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
        let code = required_code(app, me, change.code.as_ref()).await?;
        let (username, email) = (&account.username, &account.email);
        let hash = new_password::hash(app, &change.new_password, "new_password", username, email).await?;
        if let Some(code) = code.filter(|_| !proven) {
            use_code(app, me, client, &code).await?;
            proven = true;
        }
        let changed = app.sessions.change_password(me, &account.password_hash, &hash, client).await?;
        if let Some(ended) = changed {
            app.publish_revocations(&ended).await;
            return Ok(());
        }
    }
    Err(wrong_password())
}
