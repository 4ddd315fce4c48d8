//! Login, refresh, logout and heartbeat.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use platform::http::{FormOrJson, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::ExistingUser;
use super::responses::{CallerErrors, HashingUnavailable, InvalidInput, LoginErrors, RateLimited};
use crate::domain::{Email, RefreshTokenHash};
use crate::passwords::Verdict;
use crate::state::AppState;
use crate::store::{ClientInfo, Credentials, RefreshOutcome, SessionGrant};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(login_json))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(heartbeat))
}

/// A password to compare. The rules for new passwords do not apply: an older password may not satisfy them.
type GivenPassword = Text<1, 1024>;

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Login {
    email: Email,
    #[schema(value_type = String, example = "Passw0rd!")]
    password: GivenPassword,
}

/// The form of OAuth2's password flow calls the e-mail address `username`.
impl Input for Login {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("username", "email")];
}

/// The form of OAuth2's password flow.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described in the API document; the form is read as `Login`")]
struct LoginForm {
    /// The e-mail address.
    #[schema(example = "minjun@example.com")]
    username: String,
    #[schema(example = "Passw0rd!", format = "password")]
    password: String,
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Refresh {
    #[schema(inline)]
    refresh_token: Text<1, 1024>,
}

impl Input for Refresh {}

/// The tokens of a session and their lifetimes.
#[derive(Serialize, ToSchema)]
struct Token {
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// The lifetime of the access token, seconds.
    #[schema(example = 7200)]
    expires_in: u64,
    /// Valid for one exchange.
    refresh_token: String,
    /// The lifetime of the refresh token, seconds.
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
        (status = 200, description = "The tokens of a new session", body = Token),
        LoginErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
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
        (status = 200, description = "The tokens of a new session", body = Token),
        LoginErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn login_json(
    State(app): State<AppState>,
    client: ClientInfo,
    Valid(given): Valid<Login>,
) -> Result<Json<Token>> {
    log_in(&app, &client, &given).await
}

/// Exchange a refresh token for new tokens. Presenting a used one revokes the session, because a copy of it exists.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "auth",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens; the presented refresh token is used", body = Token),
        (
            status = 401,
            description = "The refresh token is unknown, used, expired or revoked, or the account is deactivated",
            body = ErrorBody,
        ),
        RateLimited,
    ),
)]
async fn refresh(
    State(app): State<AppState>,
    client: ClientInfo,
    Valid(presented): Valid<Refresh>,
) -> Result<Json<Token>> {
    let budget = app.limits.address(client.address);
    app.limits.check(&[&budget]).await?;
    match app.sessions.refresh(RefreshTokenHash::of(&presented.refresh_token.0)).await? {
        RefreshOutcome::Rotated(grant) => {
            app.presence.touch(grant.user).await;
            return token(&app, grant);
        }
        RefreshOutcome::Reused(sid) => {
            tracing::warn!(sid, "a used refresh token was presented, its session is revoked");
            app.publish_revocation(&sid).await;
        }
        RefreshOutcome::Refused => {}
    }
    app.limits.count(&[&budget]).await?;
    Err(Error::unauthenticated("Invalid refresh token"))
}

/// End the session. All services refuse its tokens from then on.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses((status = 200, description = "The session has ended", body = LoggedOut), CallerErrors),
)]
async fn logout(State(app): State<AppState>, me: CurrentUser) -> Result<Json<LoggedOut>> {
    app.sessions.log_out(&me).await?;
    app.publish_revocation(&me.session).await;
    app.profiles.invalidate(me.id).await;
    Ok(Json(LoggedOut { message: "Successfully logged out", user_id: me.id }))
}

/// Show that the caller is still online.
#[utoipa::path(
    post,
    path = "/auth/heartbeat",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses((status = 204, description = "The sign of life was recorded"), CallerErrors),
)]
async fn heartbeat(_: ExistingUser) -> StatusCode {
    // The extractor of the token has recorded the sign of life.
    StatusCode::NO_CONTENT
}

async fn log_in(app: &AppState, client: &ClientInfo, given: &Login) -> Result<Json<Token>> {
    let account = authenticate(app, client, given).await;
    app.metrics.logged_in(&account);
    let account = account?;
    // Before the session is opened: a presence sweep in between must find the key, or it marks the user offline.
    if let Err(e) = app.presence.write(account.id).await {
        tracing::warn!(error = %e, "the presence key was not written at a login");
    }
    let grant = app.sessions.open(&account, client).await?;
    token(app, grant)
}

/// Returns the account if the password is right. The error and the time do not show whether the account exists.
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
    // Concurrent attempts may have used up a budget since the first check.
    app.limits.check(&[&address, &account]).await?;
    if !found.is_active {
        return Err(Error::forbidden("Account is deactivated"));
    }
    if verdict == Verdict::Outdated {
        rehash(app, &found, password).await;
    }
    app.limits.reset(&account).await;
    Ok(found)
}

/// Replaces an outdated hash, which is possible only while the password is at hand. After a failure the next login
/// tries again.
async fn rehash(app: &AppState, account: &Credentials, password: &str) {
    let rehashed = async {
        let hash = app.passwords.hash(password).await?;
        app.accounts.rehash(account.id, &account.password_hash, &hash).await
    };
    if let Err(e) = rehashed.await {
        tracing::warn!(error = %e, user_id = account.id.0, "an outdated password hash was not replaced");
    }
}

fn token(app: &AppState, grant: SessionGrant) -> Result<Json<Token>> {
    let tokens = app.auth.tokens();
    Ok(Json(Token {
        access_token: tokens.issue(grant.user, &grant.email, &grant.username, grant.sid)?,
        token_type: "bearer",
        expires_in: tokens.lifetime().as_secs(),
        refresh_token: grant.refresh_token.into_string(),
        refresh_expires_in: grant.refresh_lifetime.as_secs(),
        user_id: grant.user,
    }))
}
