//! The caller's sessions.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use common::error::{Error, ErrorBody, Result};
use platform::http::Path;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::caller::ExistingUser;
use super::responses::{CallerErrors, Unauthenticated};
use crate::state::AppState;
use crate::store;

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
    #[schema(example = "Mozilla/5.0")]
    user_agent: Option<String>,
    #[schema(example = "203.0.113.7")]
    ip: Option<String>,
    /// Whether the request came from this session.
    current: bool,
}

#[derive(Serialize, ToSchema)]
struct SessionEnded {
    #[schema(example = "Session ended")]
    message: &'static str,
}

/// List the caller's live sessions.
#[utoipa::path(
    get,
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
#[utoipa::path(
    delete,
    path = "/auth/sessions/{sid}",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    params(("sid" = String, Path, description = "The id of the session, as in the list")),
    responses(
        (status = 200, description = "The session has ended; all services refuse its tokens", body = SessionEnded),
        Unauthenticated,
        (status = 404, description = "The caller has no such live session", body = ErrorBody),
    ),
)]
async fn end_session(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(sid): Path<String>,
) -> Result<Json<SessionEnded>> {
    let not_found = || Error::not_found("Session not found");
    let sid = Uuid::parse_str(&sid).map_err(|_| not_found())?.to_string();
    let ended = match app.sessions.revoke(me.id, &sid).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_found()),
        Err(e) => Err(e.into()),
    };
    app.audit.record("session_end", Some(me.id), &sid, &ended);
    ended?;
    app.publish_revocations(&[sid]).await;
    Ok(Json(SessionEnded { message: "Session ended" }))
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
