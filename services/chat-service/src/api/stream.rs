//! The live streams: of one room, and of all rooms of a user.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use common::error::{Error, ErrorBody, Result};
use common::id::RoomId;
use common::input::{Input, Invalid};
use deserr::Deserr;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use platform::http::{Path, Query};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, OpenApi};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::responses::{BudgetUsedUp, InvalidInput, RoomErrors};
use crate::live::{AllRoomsReader, RoomReader, Scope};
use crate::state::AppState;
use crate::store::{Joined, JoinedRoom, Snapshots};
use crate::tickets;
use crate::wire::{StreamEvent, frame};

/// The time in milliseconds after which a client reconnects when its stream ends. Each stream draws its own, so that the clients of
/// a stopped replica do not come back at once.
const RETRY_MILLIS: RangeInclusive<u64> = 1_000..=5_000;

/// A stream that opens waits so long for the announcements of its user's joins.
const ANNOUNCEMENTS: Duration = Duration::from_secs(2);

pub fn router() -> OpenApiRouter<AppState> {
    let scheme = SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("ticket")));
    let mut document = OpenApi::default();
    document.components = Some(ComponentsBuilder::new().security_scheme("ticket", scheme).build());
    OpenApiRouter::with_openapi(document).routes(routes!(room)).routes(routes!(all_rooms)).routes(routes!(ticket))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// Replaces the header `Last-Event-ID` for clients that cannot send it. The header takes precedence. Polyfills of EventSource
    /// send `lastEventId`, which means the same.
    #[deserr(default)]
    last_event_id: Option<String>,
}

impl Input for StreamQuery {
    /// The name that polyfills of EventSource use.
    const ALIASES: &'static [(&'static str, &'static str)] = &[("lastEventId", "last_event_id")];
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described in the API document; the header is read as text")]
struct StreamHeaders {
    /// The id of the last event that the client has. The stream begins after it, and without it, with the events from now on.
    #[param(rename = "Last-Event-ID", nullable = false)]
    last_event_id: Option<String>,
}

/// The user who opens a stream, and the id of the last event they have.
struct StreamClient {
    user: CurrentUser,
    last_event_id: Option<String>,
}

impl FromRequestParts<AppState> for StreamClient {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let Caller(user) = Caller::from_request_parts(parts, app).await?;
        let Query(query) = Query::<StreamQuery>::from_request_parts(parts, app).await?;
        // An unreadable id is not an absent one: no room has it, so the client receives `resync`.
        let header = parts.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
        Ok(Self { user, last_event_id: header.or(query.last_event_id) })
    }
}

/// Stream the events of a room.
///
/// The stream is in the format of server-sent events. It starts with `connected`. Every message, edit, reaction and deletion is an
/// entry in the log of the room, and its number there is its position. The id of `new_message`, `message_edited`, `message_deleted`
/// and `reaction_changed` is this position and, after a point, the epoch of the store, which changes when the store is restored from
/// a backup; a position without an epoch is accepted too. `messages_read` and `typing` have no id. A client that reconnects with
/// `Last-Event-ID` receives all later events exactly once and in order, on every replica. `resync` means that the room has no such
/// position, that the store was restored, or that the log lacks an entry; the client then fetches the room again. `connected` has an
/// id unless `resync` follows, which then has it. The stream ends with the membership, the session or the token, and after 24 to
/// 36 minutes; the client reconnects. Every request uses up the ticket in its query, even if it is refused.
#[utoipa::path(
    get,
    operation_id = "listenToRoom",
    path = "/messages/stream/{room_id}",
    tag = "stream",
    security(("bearer" = []), ("ticket" = [])),
    params(("room_id" = RoomId, Path), StreamQuery, StreamHeaders),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = StreamEvent),
        (status = 429, description = "The caller or their network holds too many streams, or opens them too often", body = ErrorBody),
        RoomErrors,
    ),
)]
async fn room(
    State(app): State<AppState>,
    StreamClient { user: me, last_event_id }: StreamClient,
    Path(room): Path<RoomId>,
) -> Result<Response> {
    app.budgets.changes.spend(me.id).await?;
    let _opening = app.openings.acquire().await;
    // Before the membership is checked, so that the stream receives the end of a membership in between.
    let subscription = app.subscribers.open(&me, Scope::Room(room))?;
    let ended = subscription.ended();
    app.membership.ready().await?;
    app.rooms.for_member_uncached(room, me.id).await?;
    app.backfill.ensure(&[room]).await?;
    let epoch = app.epochs.of_stream(last_event_id.is_some()).await?;
    let reader = RoomReader::start(&app.hub, subscription, room, epoch, last_event_id.as_deref()).await?;
    let hello = frame::connected(Some(room), me.id);
    let resync = reader.needs_resync.then(|| frame::resync(Some(room)));
    Ok(respond(&app, beginning(hello, &reader.id(), resync), reader.events(), ended))
}

/// Stream the events of all rooms of the caller.
///
/// The stream contains the events of the streams of the single rooms, in order within each room. The ids are opaque and valid for 7
/// days. If the caller joins a room, the events of the room begin with the join. If the caller leaves a room or is removed from it,
/// the last event of the room is `chat_room_left`. A stream that resumes repeats `chat_room_left` for memberships that ended while
/// the client was disconnected, also if another one has begun (then what was missed of the ended one follows), with `by` and `timestamp`
/// null; a client may receive one twice. `chat_room_created`, `chat_room_left`, `chat_room_settings`, `friend_request`, and `presence` of users
/// who share a direct room with the caller have no id.
#[utoipa::path(
    get,
    operation_id = "listenToAllRooms",
    path = "/messages/stream",
    tag = "stream",
    security(("bearer" = []), ("ticket" = [])),
    params(StreamQuery, StreamHeaders),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = StreamEvent),
        (status = 429, description = "The caller or their network holds too many streams, or opens them too often", body = ErrorBody),
        InvalidInput,
        (status = 503, description = "A store is unavailable, or the replica has too many streams", body = ErrorBody),
    ),
)]
async fn all_rooms(
    State(app): State<AppState>,
    StreamClient { user: me, last_event_id }: StreamClient,
) -> Result<Response> {
    app.budgets.changes.spend(me.id).await?;
    let _opening = app.openings.acquire().await;
    let subscription = app.subscribers.open(&me, Scope::AllRooms)?;
    let ended = subscription.ended();
    app.membership.ready().await?;
    let own = own_rooms(&app, &me).await?;
    subscription.count_rooms(own.len())?;
    app.budgets.changes.spend_many(me.id, Snapshots::further_changes(own.len())).await?;
    let epoch = app.epochs.of_stream(last_event_id.is_some()).await?;
    let last_event_id = last_event_id.as_deref();
    let reader = AllRoomsReader::start(&app.hub, &app.snapshots, subscription, &own, epoch, last_event_id).await?;
    let hello = frame::connected(None, me.id);
    let resync = reader.needs_resync.then(|| frame::resync(None));
    Ok(respond(&app, beginning(hello, &reader.id(), resync), reader.events(), ended))
}

/// The caller's rooms with the positions of the joins. All messages of the rooms have positions. A room whose log does not contain
/// the join in time is left out: the stream is told of it as of a new room.
async fn own_rooms(app: &AppState, me: &CurrentUser) -> Result<Vec<JoinedRoom>> {
    let mut own = app.rooms.joined(me.id).await?;
    let unannounced = own.iter().filter(|own| matches!(own.joined, Joined::Unannounced { .. }));
    let announcements: Vec<_> = unannounced.map(|own| app.membership.announce(own.id)).collect();
    if !announcements.is_empty() {
        let _ = tokio::time::timeout(ANNOUNCEMENTS, join_all(announcements)).await;
        own = app.membership.announced_rooms(me.id).await?;
    }
    app.membership.tell_announced(me.id, &own).await?;
    let ids: Vec<RoomId> = own.iter().map(|own| own.id).collect();
    app.backfill.ensure(&ids).await?;
    Ok(own)
}

#[derive(Serialize, ToSchema)]
struct Ticket {
    #[schema(example = "q3vXw0m1c5sT8yB2nK7dLzR4fJ6hG9aPeUoWiVxYtCs")]
    ticket: String,
    /// The lifetime in seconds.
    #[schema(example = 30)]
    expires_in: u64,
}

/// Issue a ticket for a stream or a download.
///
/// A browser's EventSource cannot send headers, and neither can a link. They have `?ticket=` instead. A ticket is used up by the first
/// request that presents it, also if that request is refused: a client takes a new one for each try.
#[utoipa::path(
    post,
    operation_id = "createStreamTicket",
    path = "/messages/stream/ticket",
    tag = "stream",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The ticket", body = Ticket),
        BudgetUsedUp,
        (status = 503, description = "Redis is unavailable", body = ErrorBody),
    ),
)]
async fn ticket(State(app): State<AppState>, me: CurrentUser) -> Result<Json<Ticket>> {
    app.budgets.changes.spend(me.id).await?;
    let ticket = app.tickets.issue(&me).await?;
    Ok(Json(Ticket { ticket, expires_in: tickets::LIFETIME.as_secs() }))
}

/// Streams events until they end, or the subscription does.
fn respond(
    app: &AppState,
    first: Vec<Event>,
    events: impl Stream<Item = Result<Event>> + Send + 'static,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let events = Sse::new(until(ended, first, events)).keep_alive(KeepAlive::new().interval(app.keep_alive));
    (unbuffered(), events).into_response()
}

/// The events until an end, and then the time after which the client reconnects.
fn until(
    ended: impl Future<Output = ()>,
    first: Vec<Event>,
    events: impl Stream<Item = Result<Event>>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        for event in first {
            yield Ok::<_, Infallible>(event);
        }
        let (mut events, mut ended) = (std::pin::pin!(events), std::pin::pin!(ended));
        loop {
            // No event follows the end, however many are ready.
            let event = tokio::select! {
                biased;
                () = &mut ended => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => yield Ok(event),
                Some(Err(error)) => {
                    tracing::warn!(%error, "ending a stream");
                    yield Ok(frame::error());
                    break;
                }
                None => break,
            }
        }
        yield Ok(Event::default().retry(retry()).comment("closing"));
    }
}

fn retry() -> Duration {
    Duration::from_millis(rand::random_range(RETRY_MILLIS))
}

/// The first events of a stream. The last one has the id at which the stream starts: a client whose connection breaks before
/// `resync` comes back with its old id and receives `resync` then.
fn beginning(connected: Event, id: &str, resync: Option<Event>) -> Vec<Event> {
    let connected = connected.retry(retry());
    match resync {
        Some(resync) => vec![connected, resync.id(id)],
        None => vec![connected.id(id)],
    }
}

/// Headers that make proxies forward each event at once.
fn unbuffered() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn no_event_follows_the_end_of_a_stream_however_many_are_ready() {
        let ready = stream::repeat_with(|| Ok(Event::default().data("secret")));
        let sent = until(std::future::ready(()), vec![Event::default().data("first")], ready);
        assert_eq!(sent.take(10).count().await, 2, "the first event and the last one");
    }
}
