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
use super::factors::{GivenCode, GivenPassword, PASSWORD_ATTEMPTS, WRONG_CODE};
use super::responses::{CallerErrors, HashingUnavailable, InvalidInput, LoginErrors, RateLimited};
use crate::domain::{Email, EnteredCode};
use crate::passwords::Verdict;
use crate::state::AppState;
use crate::store::{ClientInfo, Credentials, LoginAccount, LoginBudgets, RefreshOutcome, SessionGrant};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(login_json))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(heartbeat))
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"email": "minjun@example.com", "password": "Ta11-tulips!"}))]
struct Login {
    email: Email,
    #[schema(value_type = String)]
    password: GivenPassword,
    /// A code of the authenticator app, or a recovery code, of an account with a second factor.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    mfa_code: Option<GivenCode>,
}

/// The form of OAuth2's password flow calls the e-mail address `username`.
impl Input for Login {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("username", "email")];
}

/// The form of OAuth2's password flow.
#[derive(ToSchema)]
#[schema(example = json!({"username": "minjun@example.com", "password": "Ta11-tulips!"}))]
#[expect(dead_code, reason = "only described in the API document; the form is read as `Login`")]
struct LoginForm {
    /// The e-mail address.
    username: String,
    #[schema(format = "password")]
    password: String,
    /// A code of the authenticator app, or a recovery code, of an account with a second factor.
    #[schema(min_length = 1, max_length = 64)]
    mfa_code: Option<String>,
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"refresh_token": "3f1d2e4c5b6a7988a1b2c3d4e5f60718"}))]
struct Refresh {
    #[schema(inline)]
    refresh_token: Text<1, 1024>,
}

impl Input for Refresh {}

/// The tokens of a session and their lifetimes.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
struct Token {
    #[schema(example = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// The lifetime of the access token, seconds.
    #[schema(example = 7200)]
    expires_in: u64,
    /// Valid for one exchange, which can be repeated for 30 s if its answer was lost.
    #[schema(example = "3f1d2e4c5b6a7988a1b2c3d4e5f60718")]
    refresh_token: String,
    /// The lifetime of the refresh token, seconds.
    #[schema(example = 1_209_600)]
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
    operation_id = "logIn",
    path = "/auth/login",
    tag = "auth",
    request_body(content(
        (LoginForm = "application/x-www-form-urlencoded"),
        (LoginForm = "multipart/form-data"),
        (Login = "application/json"),
    )),
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
    operation_id = "logInWithJson",
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

/// Exchange a refresh token for new tokens.
///
/// Until the new refresh token is used, and for at most 30 s, the exchange can be repeated with the same result.
/// Presenting an older refresh token revokes the session, because a copy of it exists.
#[utoipa::path(
    post,
    operation_id = "refreshTokens",
    path = "/auth/refresh",
    tag = "auth",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens; the presented refresh token is used", body = Token, example = json!({
            "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlMg", "token_type": "bearer", "user_id": 1,
            "expires_in": 7200, "refresh_token": "9a0b3f1d2e4c5b6a7988a1b2c3d4e5f6", "refresh_expires_in": 1_209_600
        })),
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
    // A token cannot be guessed, so the failures of others in the network delay no valid one.
    let budget = app.limits.network(client.network());
    let token = presented.refresh_token.0.as_str();
    let Some(holder) = app.sessions.holder(token).await? else {
        app.limits.count(&[&budget]).await?;
        return Err(Error::unauthenticated("Invalid refresh token"));
    };
    // Not for an older token: theft is noticed even if the thief has used up the budget. It ends the session, so each
    // session has it once.
    if holder.is_exchangeable {
        app.limits.count(&[&app.limits.refreshes(&holder.sid)]).await?;
    }
    let refused = Err(Error::unauthenticated("Invalid refresh token"));
    match app.sessions.refresh(&holder, token, &client).await? {
        RefreshOutcome::Rotated(grant) => {
            app.presence.touch(grant.user, &grant.sid.to_string().into()).await;
            return issue(&app, grant);
        }
        RefreshOutcome::Reused(sid) => {
            tracing::warn!(sid, "a used refresh token was presented, its session is revoked");
            app.audit.record("refresh_token_reuse", Some(holder.user_id), &sid, &refused);
            app.publish_revocations(&[sid]).await;
        }
        RefreshOutcome::Refused => {}
    }
    app.limits.count(&[&budget]).await?;
    refused
}

/// End the session. All services refuse its tokens within 5 s.
#[utoipa::path(
    post,
    operation_id = "logOut",
    path = "/auth/logout",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses((status = 200, description = "The session has ended", body = LoggedOut), CallerErrors),
)]
async fn logout(State(app): State<AppState>, me: CurrentUser) -> Result<Json<LoggedOut>> {
    let ended = app.sessions.log_out(&me).await.map_err(Error::from);
    app.audit.record("logout", Some(me.id), &me.session, &ended);
    ended?;
    app.publish_revocations(&[me.session.to_string()]).await;
    app.profiles.invalidate(&[me.id]).await;
    Ok(Json(LoggedOut { message: "Successfully logged out", user_id: me.id }))
}

/// Show that the caller is still online.
#[utoipa::path(
    post,
    operation_id = "sendHeartbeat",
    path = "/auth/heartbeat",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses((status = 204, description = "The activity was recorded; the caller stays online"), CallerErrors),
)]
async fn heartbeat(_: ExistingUser) -> StatusCode {
    // The extractor of the token has recorded the activity.
    StatusCode::NO_CONTENT
}

async fn log_in(app: &AppState, client: &ClientInfo, given: &Login) -> Result<Json<Token>> {
    let mut progress = Progress::default();
    let opened = open_session(app, client, given, &mut progress).await;
    app.metrics.logged_in(&opened);
    let sid = opened.as_ref().map_or_else(|_| String::new(), |grant| grant.sid.to_string());
    app.audit.record("login", progress.account, sid, &opened);
    issue(app, opened?)
}

/// The findings of the attempts of one login.
#[derive(Default)]
struct Progress {
    /// The account that the address names.
    account: Option<UserId>,
    /// The account whose second factor is proven. A code is accepted only once.
    proven: Option<UserId>,
}

/// Verifies the password and opens a session. If the stored hash changes in between, the password is verified again.
async fn open_session(
    app: &AppState,
    client: &ClientInfo,
    given: &Login,
    progress: &mut Progress,
) -> Result<SessionGrant> {
    for _ in 0..PASSWORD_ATTEMPTS {
        let account = authenticate(app, client, given, progress).await?;
        // Before the session is opened: a presence sweep in between must find the key, or it marks the user offline.
        if let Err(e) = app.presence.write(account.id, None).await {
            tracing::warn!(error = %e, "the presence key was not written at a login");
        }
        if let Some(grant) = app.sessions.open(&account, client).await? {
            app.presence.touch(account.id, &grant.sid.to_string().into()).await;
            app.publish_revocations(&grant.ended).await;
            return Ok(grant);
        }
    }
    Err(Error::unauthenticated("Invalid email or password"))
}

/// Returns the account if the password is right. The error and the time do not show whether the account exists.
async fn authenticate(
    app: &AppState,
    client: &ClientInfo,
    given: &Login,
    progress: &mut Progress,
) -> Result<Credentials> {
    let (email, password, network) = (&given.email, given.password.0.as_str(), client.network());
    let (account, last_login) = match app.accounts.by_email(email, network).await? {
        Some(LoginAccount { credentials, last_login_at }) => (Some(credentials), last_login_at),
        None => (None, None),
    };
    let id = account.as_ref().map(|account| account.id);
    progress.account = id;
    let budgets = app.limits.login(network, id, email.canonical(), app.login_networks.is_known(last_login));
    app.limits.check(&budgets.failures()).await?;
    let verdict = app.passwords.verify(password, account.as_ref().map(|account| &*account.password_hash)).await?;
    let Some(mut account) = account.filter(|_| verdict != Verdict::Wrong) else {
        app.limits.count(&budgets.failures()).await?;
        return Err(Error::unauthenticated("Invalid email or password"));
    };
    // Concurrent attempts may have used up a budget since the first check.
    app.limits.check(&budgets.failures()).await?;
    // Before the code, which would be used up. A refusal counts: the comparison has cost as much as that of a wrong password.
    if let Err(refused) = admit(app, &account, &budgets).await {
        if !matches!(refused, Error::Unavailable { .. }) {
            app.limits.count(&[&budgets.account_in_network]).await?;
        }
        return Err(refused);
    }
    if progress.proven != id && app.second_factors.is_enabled(account.id).await? {
        require_code(app, client, account.id, given.mfa_code.as_ref(), &budgets).await?;
        progress.proven = id;
    }
    // Last, so that only a caller with all proofs uses it up. If the stored hash changes in between, a login counts twice.
    app.limits.count(&[&budgets.successes]).await?;
    if verdict == Verdict::Outdated {
        rehash(app, &mut account, password).await;
    }
    app.limits.reset(&budgets.account_in_network).await;
    Ok(account)
}

/// # Errors
/// Refuses a deactivated account, one whose reactivation is not known everywhere, and one with too many logins.
async fn admit(app: &AppState, account: &Credentials, budgets: &LoginBudgets) -> Result<()> {
    app.sessions.admit(account).await?;
    Ok(app.limits.check(&[&budgets.successes]).await?)
}

/// Uses up a code of the second factor. A wrong one counts as a wrong password does. A missing one counts too, until a login
/// from the network succeeds: the comparison of the password has cost as much.
async fn require_code(
    app: &AppState,
    client: &ClientInfo,
    user: UserId,
    code: Option<&GivenCode>,
    budgets: &LoginBudgets,
) -> Result<()> {
    let refused = |code, message| Err(Error::refused(StatusCode::UNAUTHORIZED, code, message));
    let Some(code) = code else {
        app.limits.count(&[&budgets.account_in_network]).await?;
        return refused("MFA_REQUIRED", "A code of the second factor is required");
    };
    let code = EnteredCode::read(&code.0);
    if app.second_factors.verify(user, &code, client).await?.is_some() {
        return Ok(());
    }
    app.limits.count(&budgets.failures()).await?;
    refused("MFA_INVALID", WRONG_CODE)
}

/// Replaces an outdated hash, which is possible only while the password is at hand. After a failure the next login
/// tries again.
async fn rehash(app: &AppState, account: &mut Credentials, password: &str) {
    let rehashed = async {
        let hash = app.passwords.hash(password).await?;
        if app.accounts.rehash(account.id, &account.password_hash, &hash).await? {
            account.password_hash = hash;
        }
        Ok::<_, Error>(())
    };
    if let Err(e) = rehashed.await {
        tracing::warn!(error = %e, user_id = account.id.0, "an outdated password hash was not replaced");
    }
}

fn issue(app: &AppState, grant: SessionGrant) -> Result<Json<Token>> {
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
