//! The caller's sessions.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{Error, ErrorBody, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::{Path, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::caller::ExistingUser;
use super::factors::{GivenCode, GivenPassword, require_password, required_code, use_code};
use super::responses::{CallerErrors, HashingUnavailable, InvalidInput, RateLimited, WrongFactor};
use crate::state::AppState;
use crate::store::{self, ClientInfo};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(sessions)).routes(routes!(end_session))
}

#[derive(Serialize, ToSchema)]
struct Session {
    #[schema(format = "uuid")]
    sid: String,
    created_at: DateTime<Utc>,
    /// The time of the login or of the last refresh.
    last_used_at: DateTime<Utc>,
    #[schema(required, example = "Mozilla/5.0")]
    user_agent: Option<String>,
    #[schema(required, example = "203.0.113.7")]
    ip: Option<String>,
    /// Whether the request came from this session.
    #[schema(example = true)]
    current: bool,
}

/// For this time after a login, a session can end others without the password.
const RECENT_LOGIN: Duration = Duration::from_secs(10 * 60);

/// Proves that the caller is the owner of the account: a copy of an access token does not suffice.
#[derive(Default, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"current_password": "Ta11-tulips!"}))]
struct Proof {
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    current_password: Option<GivenPassword>,
    /// A code of the authenticator app, or a recovery code, of an account with a second factor.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    code: Option<GivenCode>,
}

impl Input for Proof {}

#[derive(Serialize, ToSchema)]
struct SessionEnded {
    #[schema(example = "Session ended")]
    message: &'static str,
}

/// List the caller's live sessions.
#[utoipa::path(
    get,
    operation_id = "listSessions",
    path = "/auth/sessions",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses(
        (status = 200, description = "The sessions, the most recently used first", body = Vec<Session>),
        CallerErrors,
    ),
)]
async fn sessions(State(app): State<AppState>, me: CurrentUser, _: ExistingUser) -> Result<Json<Vec<Session>>> {
    let sessions = app.sessions.of(me.id).await?;
    Ok(Json(sessions.into_iter().map(|session| Session::of(session, &me)).collect()))
}

/// End one of the caller's sessions.
///
/// Ending another session than that of the request needs the current password, and a code of the second factor if there is
/// one. Without them it is possible for 10 minutes after the login.
#[utoipa::path(
    delete,
    operation_id = "endSession",
    path = "/auth/sessions/{sid}",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    params(("sid" = String, Path, description = "The id of the session, as in the list")),
    request_body = Option<Proof>,
    responses(
        (status = 200, description = "The session has ended; all services refuse its tokens", body = SessionEnded),
        WrongFactor,
        (
            status = 403,
            description = "`REAUTHENTICATION_REQUIRED`: the login is too old, and the password is missing; `MFA_REQUIRED`: the code is missing; `MFA_UNAVAILABLE`: the system has no key for the second factor, and a recovery code still works",
            body = ErrorBody,
        ),
        CallerErrors,
        (status = 404, description = "The caller has no such live session, or no account any more", body = ErrorBody),
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn end_session(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(sid): Path<String>,
    client: ClientInfo,
    proof: Option<Valid<Proof>>,
) -> Result<Json<SessionEnded>> {
    let sid = Uuid::parse_str(&sid).map_err(|_| not_found())?.to_string();
    let proof = proof.map(|Valid(proof)| proof).unwrap_or_default();
    let ended = end(&app, &me, &client, &sid, proof).await;
    app.audit.record("session_end", Some(me.id), &sid, &ended);
    ended?;
    app.publish_revocations(&[sid]).await;
    app.profiles.invalidate(&[me.id]).await;
    Ok(Json(SessionEnded { message: "Session ended" }))
}

async fn end(app: &AppState, me: &CurrentUser, client: &ClientInfo, sid: &str, proof: Proof) -> Result<()> {
    if sid != &*me.session {
        if !app.sessions.of(me.id).await?.iter().any(|session| session.sid == sid) {
            return Err(not_found());
        }
        require_proof(app, me, client, proof).await?;
    }
    let found = app.sessions.revoke(me.id, sid).await?;
    if found { Ok(()) } else { Err(not_found()) }
}

async fn require_proof(app: &AppState, me: &CurrentUser, client: &ClientInfo, proof: Proof) -> Result<()> {
    let Some(password) = proof.current_password else {
        let recent = app.sessions.is_recent(me, RECENT_LOGIN).await?;
        let message = "The current password is required";
        let missing = || Error::refused(StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED", message);
        return recent.then_some(()).ok_or_else(missing);
    };
    require_password(app, me, &password).await?;
    match required_code(app, me, proof.code.as_ref()).await? {
        Some(code) => use_code(app, me, client, &code).await,
        None => Ok(()),
    }
}

fn not_found() -> Error {
    Error::not_found("Session not found")
}

impl Session {
    fn of(session: store::Session, me: &CurrentUser) -> Self {
        Self {
            current: session.sid == *me.session,
            sid: session.sid,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            user_agent: session.user_agent,
            ip: session.ip,
        }
    }
}
