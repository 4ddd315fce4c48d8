//! Friend requests: sending, answering, taking back, and those that wait.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::auth::CurrentUser;
use common::error::{ErrorBody, Result};
use common::http::{Path, Valid};
use common::id::UserId;
use common::input::{Input, Invalid, Text};

use crate::AppState;
use crate::api::people::{Faces, parties};
use crate::domain::{Pair, refusal};
use crate::store;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(answer)).routes(routes!(cancel)).routes(routes!(waiting))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewRequest {
    /// Whom to ask. The older clients' `target_user_id` and `to_user_id` are read too.
    user_id_2: UserId,
    #[deserr(default)]
    message: Option<Text<0, 500>>,
}

impl Input for NewRequest {
    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("target_user_id", "user_id_2"), ("to_user_id", "user_id_2")];
}

/// A relation as clients see it. `user_id_1` is who asked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Friendship {
    id: i64,
    user_id_1: UserId,
    user_id_2: UserId,
    /// `pending` or `accepted`.
    status: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

/// The relation, with its id once more under the older clients' name.
#[derive(Debug, Serialize, ToSchema)]
struct Sent {
    #[serde(flatten)]
    friendship: Friendship,
    request_id: i64,
}

/// Send a friend request.
#[utoipa::path(
    post,
    path = "/friends/request",
    tag = "requests",
    security(("bearer" = [])),
    request_body = NewRequest,
    responses(
        (status = 201, description = "Sent", body = Sent),
        (status = 400, description = "To oneself, or the two already relate", body = ErrorBody),
        (status = 403, description = "One has blocked the other", body = ErrorBody),
        (status = 404, description = "No such person", body = ErrorBody),
        (status = 422, description = "Invalid input", body = ErrorBody),
        (status = 503, description = "It cannot be verified that the person exists", body = ErrorBody),
    ),
)]
async fn send(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(new): Valid<NewRequest>,
) -> Result<(StatusCode, Json<Sent>)> {
    let to = new.user_id_2;
    let pair = Pair::of(me.id, to).ok_or_else(refusal::to_oneself)?;
    let (exists, names) = tokio::join!(app.users.exists(to), parties(&app, &me, me.id, to));
    if !exists? {
        return Err(refusal::no_such_person());
    }
    let message = new.message.as_ref().map(|text| text.0.as_str());
    let sent = app.friendships.request(pair, me.id, to, message, &names?).await?;
    app.requests.with_label_values(&["sent"]).inc();
    Ok((StatusCode::CREATED, Json(Sent { request_id: sent.id, friendship: sent.into() })))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Answer {
    /// `accept` or `reject`.
    action: String,
}

impl Input for Answer {}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

/// What an answer is answered with: the friendship, or that there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answered {
    Accepted(Friendship),
    Rejected(Message),
}

/// Accept or reject a request.
#[utoipa::path(
    put,
    path = "/friends/status/{requester_user_id}",
    tag = "requests",
    security(("bearer" = [])),
    params(("requester_user_id" = UserId, Path, description = "Who asked")),
    request_body = Answer,
    responses(
        (status = 200, description = "The friendship, or a message", body = Answered),
        (status = 400, description = "No such request, or no such action", body = ErrorBody),
        (status = 422, description = "Invalid input", body = ErrorBody),
    ),
)]
async fn answer(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(requester): Path<UserId>,
    Valid(Answer { action }): Valid<Answer>,
) -> Result<Json<Answered>> {
    let answered = match action.as_str() {
        "accept" => Answered::Accepted(accept(&app, &me, requester).await?),
        "reject" => Answered::Rejected(reject(&app, &me, requester).await?),
        _ => return Err(refusal::no_such_action()),
    };
    Ok(Json(answered))
}

pub(super) async fn accept(app: &AppState, me: &CurrentUser, requester: UserId) -> Result<Friendship> {
    let pair = Pair::of(requester, me.id).ok_or_else(refusal::nothing_pending)?;
    let names = parties(app, me, requester, me.id).await?;
    let accepted = app.friendships.accept(pair, requester, &names).await?;
    app.requests.with_label_values(&["accepted"]).inc();
    Ok(accepted.into())
}

pub(super) async fn reject(app: &AppState, me: &CurrentUser, requester: UserId) -> Result<Message> {
    let pair = Pair::of(requester, me.id).ok_or_else(refusal::nothing_pending)?;
    app.friendships.reject(pair, requester).await?;
    app.requests.with_label_values(&["rejected"]).inc();
    Ok(Message { message: "Friend request rejected successfully" })
}

#[derive(Debug, Serialize, ToSchema)]
struct Cancelled {
    message: &'static str,
    target_user_id: UserId,
}

/// Take a request back.
#[utoipa::path(
    delete,
    path = "/friends/request/{target_user_id}",
    tag = "requests",
    security(("bearer" = [])),
    params(("target_user_id" = UserId, Path, description = "Who was asked")),
    responses(
        (status = 200, description = "Taken back", body = Cancelled),
        (status = 400, description = "No such request", body = ErrorBody),
    ),
)]
async fn cancel(State(app): State<AppState>, me: CurrentUser, Path(target): Path<UserId>) -> Result<Json<Cancelled>> {
    let pair = Pair::of(me.id, target).ok_or_else(refusal::nothing_pending)?;
    app.friendships.cancel(pair, me.id).await?;
    app.requests.with_label_values(&["cancelled"]).inc();
    Ok(Json(Cancelled { message: "Friend request cancelled successfully", target_user_id: target }))
}

/// The requests that wait for an answer.
#[derive(Debug, Serialize, ToSchema)]
struct Waiting {
    received_requests: Vec<Request>,
    sent_requests: Vec<Request>,
}

/// A request that waits, with the other one's name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Request {
    friendship_id: i64,
    user_id: UserId,
    username: String,
    /// Empty: nobody's e-mail is told to others.
    email: &'static str,
    status: &'static str,
    created_at: DateTime<Utc>,
    /// `received` or `sent`.
    request_type: &'static str,
    message: Option<String>,
}

/// The requests to and from me that wait for an answer.
#[utoipa::path(
    get,
    path = "/friends/requests",
    tag = "requests",
    security(("bearer" = [])),
    responses((status = 200, description = "In both directions, oldest first", body = Waiting)),
)]
async fn waiting(State(app): State<AppState>, me: CurrentUser) -> Result<Json<Waiting>> {
    let all = requests_of(&app, me.id).await?;
    let (received_requests, sent_requests) = all.into_iter().partition(|request| request.request_type == RECEIVED);
    Ok(Json(Waiting { received_requests, sent_requests }))
}

const RECEIVED: &str = "received";

/// The requests that others sent and that wait for this person's answer.
pub(super) async fn received_by(app: &AppState, user: UserId) -> Result<Vec<Request>> {
    let all = requests_of(app, user).await?;
    Ok(all.into_iter().filter(|request| request.request_type == RECEIVED).collect())
}

async fn requests_of(app: &AppState, user: UserId) -> Result<Vec<Request>> {
    let waiting = app.friendships.requests_of(user).await?;
    let people: Vec<_> = waiting.iter().map(|request| request.user_id).collect();
    let faces = Faces::of(app, &people).await?;
    let shown = waiting.into_iter().map(|request| Request {
        friendship_id: request.friendship_id,
        user_id: request.user_id,
        username: faces.username(request.user_id),
        email: "",
        status: "pending",
        created_at: request.created_at,
        request_type: if request.sent { "sent" } else { RECEIVED },
        message: request.message,
    });
    Ok(shown.collect())
}

impl From<store::Friendship> for Friendship {
    fn from(f: store::Friendship) -> Self {
        Self {
            id: f.id,
            user_id_1: f.user_id_1,
            user_id_2: f.user_id_2,
            status: f.status,
            created_at: f.created_at,
            updated_at: f.updated_at,
            deleted_at: f.deleted_at,
        }
    }
}
