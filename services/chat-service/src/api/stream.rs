//! The live streams: of a room, and of all rooms of someone.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Query};
use common::id::RoomId;
use common::input::{Input, Invalid};
use deserr::Deserr;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::live::{AllRooms, RoomReader, Scope};
use crate::store::{Joined, Own};
use crate::{AppState, tickets};

/// How soon a reader whose stream broke comes back.
const RETRY: Duration = Duration::from_secs(1);

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(room)).routes(routes!(all_rooms)).routes(routes!(ticket))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Since {
    /// As the header `Last-Event-ID`, for those who cannot send one; the header wins.
    #[deserr(default)]
    last_event_id: Option<String>,
    /// Instead of the header `Authorization`, for those who cannot send one.
    #[deserr(default)]
    ticket: Option<String>,
}

impl Input for Since {}

/// Who opens a stream, by their token or by a ticket, and the place from which on.
struct Listener {
    user: CurrentUser,
    since: Option<String>,
}

impl FromRequestParts<AppState> for Listener {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let query = Query::<Since>::from_request_parts(parts, app).await;
        let ticket = query.as_ref().ok().and_then(|Query(since)| since.ticket.clone());
        let user = match ticket.filter(|_| !parts.headers.contains_key(header::AUTHORIZATION)) {
            Some(ticket) => app.tickets.take(&ticket).await?,
            None => CurrentUser::from_request_parts(parts, app).await?,
        };
        let Query(since) = query?;
        let named = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Self { user, since: named.or(since.last_event_id) })
    }
}

/// Listen to a room.
///
/// Server-sent events: `connected` first, then `new_message`, `message_edited`, `message_deleted` and
/// `reaction_changed`, each with the position in the room's log as its id, and without one `messages_read` and `typing`.
/// Whoever comes back with `Last-Event-ID` gets what came after it, exactly once and in order, on whichever replica;
/// `resync` says that there is no such position. The stream ends with the membership, the session and the token.
#[utoipa::path(
    get,
    operation_id = "listen_to_room",
    path = "/messages/stream/{room_id}",
    tag = "stream",
    security(("bearer" = [])),
    params(("room_id" = i64, Path), Since, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn room(
    State(app): State<AppState>,
    Listener { user: me, since }: Listener,
    Path(room): Path<RoomId>,
) -> Result<Response> {
    // Before it is asked who is a member, so that whoever stops being one meanwhile is told.
    let address = app.post.open(me.id, Scope::Room(room));
    app.membership.ready().await?;
    app.rooms.of_member_now(room, me.id).await?;
    app.adoption.ensure(&[room]).await?;
    let reader = RoomReader::start(&app.hub, address, room, since.as_deref()).await?;
    let message = format!("Connected to room {room}");
    let hello = json!({"message": message, "room_id": room, "user_id": me.id});
    let mut first = vec![connected(&hello, &reader.position().to_string())];
    if reader.lost {
        first.push(resync(&json!({"room_id": room})));
    }
    Ok(respond(&app, &me, first, reader.events()))
}

/// Listen to all rooms of the caller.
///
/// As on the stream of a room, and in order within each. The ids are opaque and good for 7 days. Rooms that the caller
/// comes into begin where they came in, and those that they leave end. Besides, and without id: `chat_room_created`,
/// `presence` of people with whom the caller shares a direct room, and `friend_request`.
#[utoipa::path(
    get,
    operation_id = "listen_to_all_rooms",
    path = "/messages/stream",
    tag = "stream",
    security(("bearer" = [])),
    params(Since, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = 422, body = ErrorBody),
        (status = 503, description = "The stores cannot be asked", body = ErrorBody),
    ),
)]
async fn all_rooms(State(app): State<AppState>, Listener { user: me, since }: Listener) -> Result<Response> {
    let address = app.post.open(me.id, Scope::AllRooms);
    app.membership.ready().await?;
    let own = own_rooms(&app, &me).await?;
    let reader = AllRooms::start(&app.hub, &app.snapshots, address, &own, since.as_deref()).await?;
    let hello = json!({"message": "Connected to all rooms", "user_id": me.id});
    let mut first = vec![connected(&hello, &reader.id())];
    if reader.lost {
        first.push(resync(&json!({})));
    }
    Ok(respond(&app, &me, first, reader.events()))
}

/// The caller's rooms, all of whose messages have their positions, and where the caller came in.
async fn own_rooms(app: &AppState, me: &CurrentUser) -> Result<Vec<Own>> {
    let mut own = app.rooms.of_user(me.id).await?;
    let untold: Vec<RoomId> = own.iter().filter(|own| own.joined == Joined::Untold).map(|own| own.room.id).collect();
    for room in &untold {
        app.membership.tell_log(*room).await?;
    }
    if !untold.is_empty() {
        own = app.rooms.of_user(me.id).await?;
    }
    let ids: Vec<RoomId> = own.iter().map(|own| own.room.id).collect();
    app.adoption.ensure(&ids).await?;
    Ok(own)
}

#[derive(Serialize, ToSchema)]
struct Ticket {
    ticket: String,
    /// Seconds.
    #[schema(example = 30)]
    expires_in: u64,
}

/// Take a ticket for a stream.
///
/// For browsers' EventSource, which can send no header: `?ticket=` on either stream, once.
#[utoipa::path(
    post,
    operation_id = "take_stream_ticket",
    path = "/messages/stream/ticket",
    tag = "stream",
    security(("bearer" = [])),
    responses(
        (status = 200, body = Ticket),
        (status = 503, description = "Tickets cannot be kept just now", body = ErrorBody),
    ),
)]
async fn ticket(State(app): State<AppState>, me: CurrentUser) -> Result<Json<Ticket>> {
    let ticket = app.tickets.issue(&me).await?;
    Ok(Json(Ticket { ticket, expires_in: tickets::LIFETIME.as_secs() }))
}

/// Events until their end, the session's, the token's or the service's.
fn respond(
    app: &AppState,
    me: &CurrentUser,
    first: Vec<Event>,
    events: impl Stream<Item = Result<Event>> + Send + 'static,
) -> Response {
    let open = app.streams.open(me);
    let stream = async_stream::stream! {
        for event in first {
            yield Ok::<_, Infallible>(event);
        }
        let (mut events, mut ended) = (std::pin::pin!(events), std::pin::pin!(open.ended()));
        loop {
            let event = tokio::select! {
                () = &mut ended => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => yield Ok(event),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a stream ends");
                    yield Ok(Event::default().event("error").data(r#"{"message":"Stream error occurred"}"#));
                    break;
                }
                None => break,
            }
        }
        yield Ok(Event::default().retry(RETRY).comment("closing"));
    };
    let events = Sse::new(stream).keep_alive(KeepAlive::new().interval(app.keep_alive));
    (unbuffered(), events).into_response()
}

fn connected(hello: &Value, id: &str) -> Event {
    Event::default().event("connected").id(id).retry(RETRY).data(hello.to_string())
}

fn resync(data: &Value) -> Event {
    Event::default().event("resync").data(data.to_string())
}

/// Proxies pass every event on at once.
fn unbuffered() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}
