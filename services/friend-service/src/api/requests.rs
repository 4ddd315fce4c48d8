//! Friend requests: sending, answering, cancelling and listing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::error::{ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Invalid, Text};
use common::text::is_blank;
use platform::http::{Path, Query, Valid};
use service::auth::CurrentUser;

use crate::api::page::Page;
use crate::api::responses::{BudgetUsedUp, InvalidInput, NothingPending, TargetErrors, TooManyFriends};
use crate::api::users::{ProfileViews, party_names};
use crate::domain::{Pair, refusal};
use crate::state::AppState;
use crate::store;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(answer)).routes(routes!(cancel)).routes(routes!(pending))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(as = NewFriendRequest, example = json!({"user_id_2": 2, "message": "안녕하세요, 김민준입니다."}))]
struct NewRequest {
    /// The addressee. Older clients send `target_user_id` or `to_user_id`.
    user_id_2: UserId,
    /// A message without a visible character counts as no message.
    #[deserr(default)]
    message: Option<Text<0, 500>>,
}

impl Input for NewRequest {
    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("target_user_id", "user_id_2"), ("to_user_id", "user_id_2")];
}

/// A friendship or a request. `user_id_1` is the requester.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!(example("accepted")))]
pub(super) struct Friendship {
    id: i64,
    user_id_1: UserId,
    user_id_2: UserId,
    /// `pending` or `accepted`.
    status: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[schema(required)]
    deleted_at: Option<DateTime<Utc>>,
}

/// The request of `kim_minjun` (user 1) to `park_jiho` (user 2) in the API document, and the friendship that followed 20 s later.
fn example(status: &str) -> Friendship {
    let at = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
    let created_at = at(1_795_525_640_500);
    let updated_at = if status == "pending" { created_at } else { at(1_795_525_660_500) };
    let (user_id_1, user_id_2, status) = (UserId(1), UserId(2), status.to_owned());
    Friendship { id: 1, user_id_1, user_id_2, status, created_at, updated_at, deleted_at: None }
}

/// The request. `request_id` repeats the id for older clients.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SentFriendRequest, example = json!(Sent { friendship: example("pending"), request_id: 1 }))]
struct Sent {
    #[serde(flatten)]
    friendship: Friendship,
    request_id: i64,
}

/// Send a friend request.
#[utoipa::path(
    post,
    operation_id = "sendFriendRequest",
    path = "/friends/request",
    tag = "requests",
    security(("bearer" = [])),
    request_body = NewRequest,
    responses(
        (status = 201, description = "The request was sent", body = Sent),
        (status = 400, description = "The addressee is the caller, or the two users are friends or have a pending request", body = ErrorBody),
        (
            status = 403,
            description = "`BLOCKED`: one of the two users has blocked the other. `TOO_MANY_PENDING`: the caller has reached the limit of unanswered requests. `TOO_MANY_FRIENDS`: the caller has reached the limit of friends",
            body = ErrorBody
        ),
        (
            status = 429,
            description = "Requests of the caller to this user were cancelled or rejected too often within a day, or the caller's budget of changes in a minute or of requests in a day is used up",
            body = ErrorBody
        ),
        TargetErrors,
        InvalidInput,
    ),
)]
async fn send(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(new): Valid<NewRequest>,
) -> Result<(StatusCode, Json<Sent>)> {
    let to = new.user_id_2;
    let sent = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(me.id, to).ok_or_else(refusal::request_to_self)?;
        let (exists, names) = tokio::join!(app.users.exists(to), party_names(&app, &me, me.id, to));
        if !exists? {
            return Err(refusal::no_such_user());
        }
        app.daily_requests.spend(me.id).await?;
        let message = new.message.as_ref().map(|text| text.0.as_str()).filter(|text| !is_blank(text));
        Ok(app.friendships.request(pair, me.id, to, message, &names?).await?)
    };
    let sent = sent.await;
    app.audit.record("request_send", Some(me.id), to, &sent);
    let sent = sent?;
    app.requests.with_label_values(&["sent"]).inc();
    Ok((StatusCode::CREATED, Json(Sent { request_id: sent.id, friendship: sent.into() })))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(as = FriendRequestAnswer)]
struct Answer {
    /// `accept` or `reject`.
    #[schema(example = "accept")]
    action: String,
}

impl Input for Answer {}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Done)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

/// The friendship after `accept`, a message after `reject`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AnsweredFriendRequest)]
pub(super) enum Answered {
    Accepted(Friendship),
    Rejected(Message),
}

/// Accept or reject a request.
#[utoipa::path(
    put,
    operation_id = "answerFriendRequest",
    path = "/friends/status/{requester_user_id}",
    tag = "requests",
    security(("bearer" = [])),
    params(("requester_user_id" = UserId, Path, description = "The requester")),
    request_body = Answer,
    responses(
        (status = 200, description = "The friendship, or a message", body = Answered),
        (status = 400, description = "There is no such pending request, or no such action", body = ErrorBody),
        TooManyFriends,
        BudgetUsedUp,
        InvalidInput,
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
    let accepted = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(requester, me.id).ok_or_else(refusal::nothing_pending)?;
        let names = party_names(app, me, requester, me.id).await?;
        Ok(app.friendships.accept(pair, requester, &names).await?)
    };
    let accepted = accepted.await;
    app.audit.record("request_accept", Some(me.id), requester, &accepted);
    let accepted = accepted?;
    app.requests.with_label_values(&["accepted"]).inc();
    Ok(accepted.into())
}

pub(super) async fn reject(app: &AppState, me: &CurrentUser, requester: UserId) -> Result<Message> {
    let rejected = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(requester, me.id).ok_or_else(refusal::nothing_pending)?;
        Ok(app.friendships.reject(pair, requester).await?)
    };
    let rejected = rejected.await;
    app.audit.record("request_reject", Some(me.id), requester, &rejected);
    rejected?;
    app.requests.with_label_values(&["rejected"]).inc();
    Ok(Message { message: "Friend request rejected successfully" })
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(
    as = CancelledFriendRequest,
    example = json!({"message": "Friend request cancelled successfully", "target_user_id": 2})
)]
struct Cancelled {
    message: &'static str,
    target_user_id: UserId,
}

/// Cancel a request.
#[utoipa::path(
    delete,
    operation_id = "cancelFriendRequest",
    path = "/friends/request/{target_user_id}",
    tag = "requests",
    security(("bearer" = [])),
    params(("target_user_id" = UserId, Path, description = "The addressee")),
    responses(
        (status = 200, description = "The request was cancelled", body = Cancelled),
        BudgetUsedUp,
        NothingPending,
    ),
)]
async fn cancel(State(app): State<AppState>, me: CurrentUser, Path(target): Path<UserId>) -> Result<Json<Cancelled>> {
    let cancelled = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(me.id, target).ok_or_else(refusal::nothing_pending)?;
        Ok(app.friendships.cancel(pair, me.id).await?)
    };
    let cancelled = cancelled.await;
    app.audit.record("request_cancel", Some(me.id), target, &cancelled);
    cancelled?;
    app.requests.with_label_values(&["cancelled"]).inc();
    Ok(Json(Cancelled { message: "Friend request cancelled successfully", target_user_id: target }))
}

/// The pending requests of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FriendRequests)]
struct Waiting {
    received_requests: Vec<Request>,
    #[schema(example = json!([]))]
    sent_requests: Vec<Request>,
}

/// A pending request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FriendRequest, example = json!({
    "friendship_id": 2, "user_id": 3, "username": "lee_seoyeon", "email": "", "status": "pending",
    "created_at": "2026-11-24T13:09:10.500Z", "request_type": "received", "message": "안녕하세요, 이서연입니다."
}))]
pub(super) struct Request {
    friendship_id: i64,
    /// The other user.
    user_id: UserId,
    username: String,
    /// Always empty. The service does not reveal e-mail addresses.
    email: &'static str,
    status: &'static str,
    created_at: DateTime<Utc>,
    /// `received` or `sent`.
    request_type: &'static str,
    #[schema(required)]
    message: Option<String>,
}

/// List the pending requests to and from the caller.
#[utoipa::path(
    get,
    operation_id = "listFriendRequests",
    path = "/friends/requests",
    tag = "requests",
    security(("bearer" = [])),
    params(Page),
    responses(
        (
            status = 200,
            description = "The requests in both directions, oldest first",
            body = Waiting,
            headers(("X-Next-Cursor" = i64, description = "The cursor of the next page; absent on the last page")),
        ),
        InvalidInput,
    ),
)]
async fn pending(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<impl IntoResponse> {
    let mut found = app.friendships.requests_of(me.id, page.after(), page.limit_and_one()).await?;
    let next = page.cut(&mut found, |request| request.friendship_id);
    let requests = shown(&app, found).await?.into_iter();
    let (received_requests, sent_requests) = requests.partition(|request| request.request_type == RECEIVED);
    Ok((next, Json(Waiting { received_requests, sent_requests })))
}

const RECEIVED: &str = "received";

/// The requests as clients read them.
pub(super) async fn shown(app: &AppState, requests: Vec<store::Request>) -> Result<Vec<Request>> {
    let users: Vec<_> = requests.iter().map(|request| request.user_id).collect();
    let profiles = ProfileViews::of(app, &users).await?;
    let bodies = requests.into_iter().map(|request| Request {
        friendship_id: request.friendship_id,
        user_id: request.user_id,
        username: profiles.username(request.user_id),
        email: "",
        status: "pending",
        created_at: request.created_at,
        request_type: if request.sent { "sent" } else { RECEIVED },
        message: request.message,
    });
    Ok(bodies.collect())
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
