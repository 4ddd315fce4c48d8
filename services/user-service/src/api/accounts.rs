//! Registration.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::Valid;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::new_password;
use super::responses::{HashingUnavailable, InvalidNewPassword, RateLimited};
use crate::domain::{DisplayName, Edit, Email, NewPassword, Username};
use crate::state::AppState;
use crate::store::{ClientInfo, NewAccount, RegisteredAccount};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(register))
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewUser {
    email: Email,
    /// Letters, digits, `_` and `-`; begins with a letter or a digit. Older clients may send `nickname` instead.
    username: Username,
    /// Contains at least one letter, one digit and one special character, or, if the operator has chosen the rule of
    /// length, at least 15 characters of any kind. Common and breached passwords are refused.
    password: NewPassword,
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 100, example = "김민준")]
    display_name: Option<Edit<DisplayName>>,
}

impl Input for NewUser {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("nickname", "username")];
}

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
struct UserResponse {
    id: UserId,
    #[schema(example = "minjun@example.com")]
    email: String,
    #[schema(example = "kim_minjun")]
    username: String,
    #[schema(required, example = "김민준")]
    display_name: Option<String>,
    #[schema(example = "2026-11-24T13:07:10.500Z")]
    created_at: DateTime<Utc>,
    #[schema(example = "2026-11-24T13:07:10.500Z")]
    updated_at: DateTime<Utc>,
}

/// Register an account.
#[utoipa::path(
    post,
    operation_id = "register",
    path = "/auth/register",
    tag = "auth",
    request_body = NewUser,
    responses(
        (status = 201, description = "The account was registered", body = UserResponse),
        (status = 409, description = "The e-mail address or the username is taken, or a name looks like the username of another user", body = ErrorBody),
        InvalidNewPassword,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn register(
    State(app): State<AppState>,
    client: ClientInfo,
    new: Result<Valid<NewUser>>,
) -> Result<(StatusCode, Json<UserResponse>)> {
    let new = new_password::by_rule(&app, new, "password", |new| &new.password)?;
    let registered = create_account(&app, &client, new).await;
    app.metrics.registered(&registered);
    app.audit.record("register", registered.as_ref().ok().map(|account| account.id), "", &registered);
    Ok((StatusCode::CREATED, Json(registered?.into())))
}

async fn create_account(app: &AppState, client: &ClientInfo, new: NewUser) -> Result<RegisteredAccount> {
    app.limits.count(&[&app.limits.registrations(client.network())]).await?;
    let (username, email) = (new.username.as_str(), new.email.spelling());
    let password_hash = new_password::hash(app, &new.password, "password", username, email).await?;
    let display_name = new.display_name.and_then(Edit::into_option);
    let account = NewAccount { email: new.email, username: new.username, display_name, password_hash };
    Ok(app.accounts.register(&account).await?)
}

impl From<RegisteredAccount> for UserResponse {
    fn from(account: RegisteredAccount) -> Self {
        Self {
            id: account.id,
            email: account.email,
            username: account.username,
            display_name: account.display_name,
            created_at: account.created_at,
            updated_at: account.created_at,
        }
    }
}
