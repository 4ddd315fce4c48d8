//! Logging in and out, keeping a session alive, signs of life.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{FormOrJson, Valid};
use common::id::UserId;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::ExistingUser;
use crate::domain::{Email, RefreshHash};
use crate::passwords::Verdict;
use crate::state::AppState;
use crate::store::{ClientInfo, Credentials, Opened, Refreshed};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(login_json))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(heartbeat))
}

/// A password that is only compared; its rules may have been others when it was set.
type GivenPassword = Text<1, 1024>;

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Login {
    email: Email,
    #[schema(value_type = String, example = "Passw0rd!")]
    password: GivenPassword,
}

/// The form names the e-mail `username`, as OAuth2's password flow does.
impl Input for Login {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("username", "email")];
}

/// OAuth2's password flow.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described in the API document; the form is read as `Login`")]
struct LoginForm {
    /// The e-mail.
    #[schema(example = "minjun@example.com")]
    username: String,
    #[schema(example = "Passw0rd!", format = "password")]
    password: String,
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Refresh {
    #[schema(value_type = String)]
    refresh_token: Text<1, 1024>,
}

impl Input for Refresh {}

/// What a client may do from now on, and for how long.
#[derive(Serialize, ToSchema)]
struct Token {
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 7200)]
    expires_in: u64,
    /// Good for one exchange.
    refresh_token: String,
    /// Seconds.
    refresh_expires_in: u64,
    user_id: UserId,
}

#[derive(Serialize, ToSchema)]
struct LoggedOut {
    #[schema(example = "Successfully logged out")]
    message: &'static str,
    user_id: UserId,
}

/// Log in with a form (OAuth2 password flow) or with JSON.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "auth",
    request_body(content((LoginForm = "application/x-www-form-urlencoded"), (Login = "application/json"))),
    responses(
        (status = 200, description = "Logged in", body = Token),
        (status = 401, description = "No such account, or another password", body = ErrorBody),
        (status = 403, description = "The account is deactivated", body = ErrorBody),
        (status = 422, description = "One entry per broken field", body = ErrorBody),
        (status = 429, description = "Too many failures from this address or for this account", body = ErrorBody),
        (status = 503, description = "More passwords are to be checked than the machine can", body = ErrorBody),
    ),
)]
async fn login(
    State(app): State<AppState>,
    client: ClientInfo,
    FormOrJson(given): FormOrJson<Login>,
) -> Result<Json<Token>> {
    log_in(&app, &client, &given).await
}

/// Log in with JSON.
#[utoipa::path(
    post,
    path = "/auth/login/json",
    tag = "auth",
    request_body = Login,
    responses(
        (status = 200, description = "Logged in", body = Token),
        (status = 401, description = "No such account, or another password", body = ErrorBody),
        (status = 403, description = "The account is deactivated", body = ErrorBody),
        (status = 422, description = "One entry per broken field", body = ErrorBody),
        (status = 429, description = "Too many failures from this address or for this account", body = ErrorBody),
        (status = 503, description = "More passwords are to be checked than the machine can", body = ErrorBody),
    ),
)]
async fn login_json(
    State(app): State<AppState>,
    client: ClientInfo,
    Valid(given): Valid<Login>,
) -> Result<Json<Token>> {
    log_in(&app, &client, &given).await
}

/// Exchange a refresh token. Showing one twice ends the session: someone has a copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "auth",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens; the shown one is used up", body = Token),
        (status = 401, description = "Unknown, used, expired or revoked, or the account is deactivated", body = ErrorBody),
        (status = 429, description = "Too many failures from this address", body = ErrorBody),
    ),
)]
async fn refresh(State(app): State<AppState>, client: ClientInfo, Valid(shown): Valid<Refresh>) -> Result<Json<Token>> {
    let budget = app.limits.address(client.address);
    app.limits.check(&[&budget]).await?;
    match app.sessions.refresh(RefreshHash::of(&shown.refresh_token.0)).await? {
        Refreshed::Anew(opened) => {
            app.presence.touch(opened.user).await;
            return token(&app, opened);
        }
        Refreshed::Stolen(sid) => {
            tracing::warn!(sid, "a used refresh token was shown, its session is ended");
            app.publish_revocation(&sid).await;
        }
        Refreshed::Refused => {}
    }
    app.limits.count(&[&budget]).await?;
    Err(Error::unauthenticated("Invalid refresh token"))
}

/// End the session: its tokens count nowhere from now on.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses(
        (status = 200, description = "Logged out", body = LoggedOut),
        (status = 401, description = "Not authenticated", body = ErrorBody),
        (status = 404, description = "The account is gone", body = ErrorBody),
    ),
)]
async fn logout(State(app): State<AppState>, me: CurrentUser) -> Result<Json<LoggedOut>> {
    app.sessions.log_out(&me).await?;
    app.publish_revocation(&me.session).await;
    app.profiles.forget(me.id).await;
    Ok(Json(LoggedOut { message: "Successfully logged out", user_id: me.id }))
}

/// Say that one is still there.
#[utoipa::path(
    post,
    path = "/auth/heartbeat",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses(
        (status = 204, description = "Noted"),
        (status = 401, description = "Not authenticated", body = ErrorBody),
        (status = 404, description = "The account is gone", body = ErrorBody),
    ),
)]
async fn heartbeat(_: ExistingUser) -> StatusCode {
    // The token was read, and that is the sign of life.
    StatusCode::NO_CONTENT
}

async fn log_in(app: &AppState, client: &ClientInfo, given: &Login) -> Result<Json<Token>> {
    let account = authenticate(app, client, given).await;
    app.metrics.logged_in(&account);
    let account = account?;
    // Before the session: the sweeper, which looks at the key, must not tell the opposite in between.
    if let Err(e) = app.presence.write(account.id).await {
        tracing::warn!(error = %e, "presence not written at a login");
    }
    let opened = app.sessions.open(&account, client).await?;
    token(app, opened)
}

/// The account whose password this is. The same answer and the same work whether or not there is one.
async fn authenticate(app: &AppState, client: &ClientInfo, given: &Login) -> Result<Credentials> {
    let (email, password) = (given.email.as_str(), given.password.0.as_str());
    let (address, account) = (app.limits.address(client.address), app.limits.account(email));
    app.limits.check(&[&address, &account]).await?;
    let found = app.accounts.by_email(email).await?;
    let verdict = app.passwords.verify(password, found.as_ref().map(|found| found.password_hash.as_str())).await?;
    let Some(found) = found.filter(|_| verdict != Verdict::Wrong) else {
        app.limits.count(&[&address, &account]).await?;
        return Err(Error::unauthenticated("Invalid email or password"));
    };
    // Others that were made at once with this one may have used the budget up.
    app.limits.check(&[&address, &account]).await?;
    if !found.is_active {
        return Err(Error::forbidden("Account is deactivated"));
    }
    if verdict == Verdict::Outdated {
        rehash(app, &found, password).await;
    }
    app.limits.forgive(&account).await;
    Ok(found)
}

/// Only now is the password known, so only now can its hash be made better. If not now, then at the next login.
async fn rehash(app: &AppState, account: &Credentials, password: &str) {
    let rehashed = async {
        let hash = app.passwords.hash(password).await?;
        app.accounts.rehash(account.id, &account.password_hash, &hash).await
    };
    if let Err(e) = rehashed.await {
        tracing::warn!(error = %e, user_id = account.id.0, "a password stays in its old hash");
    }
}

fn token(app: &AppState, opened: Opened) -> Result<Json<Token>> {
    let tokens = app.auth.tokens();
    Ok(Json(Token {
        access_token: tokens.issue(opened.user, &opened.email, &opened.username, opened.sid)?,
        token_type: "bearer",
        expires_in: tokens.lifetime().as_secs(),
        refresh_token: opened.refresh_token.into_string(),
        refresh_expires_in: opened.refresh_lifetime.as_secs(),
        user_id: opened.user,
    }))
}
