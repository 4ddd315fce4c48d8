//! The live stream of a room.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use common::auth::CurrentUser;
use common::error::{ErrorBody, Result};
use common::http::{Path, Query};
use common::id::{RoomId, UserId};
use common::input::{Input, Invalid};
use deserr::Deserr;
use futures_util::Stream;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::live::{OpenStream, Subscriber};

/// How soon a reader whose stream broke comes back.
const RETRY: Duration = Duration::from_secs(1);

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(room))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Since {
    /// As the header `Last-Event-ID`, for those who cannot send one; the header wins.
    #[deserr(default)]
    last_event_id: Option<String>,
}

impl Input for Since {}

/// Listen to a room.
///
/// Server-sent events: `connected` first, then `new_message`, `message_edited` and `message_deleted`, each with the
/// position in the room's log as its id. Whoever comes back with `Last-Event-ID` gets what came after it, exactly once
/// and in order, on whichever replica; `resync` says that there is no such position.
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
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Query(since): Query<Since>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    app.room(room, &me).await?;
    let named = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let started = Subscriber::start(&app.hub, room, named.or(since.last_event_id).as_deref()).await?;
    let open = app.streams.open(&me);
    let keep_alive = KeepAlive::new().interval(app.keep_alive);
    let events = Sse::new(events(open, started, room, me.id)).keep_alive(keep_alive);
    Ok((unbuffered(), events))
}

fn events(
    open: OpenStream,
    started: Result<Subscriber, Subscriber>,
    room: RoomId,
    me: UserId,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let resync = started.is_err();
        let (Ok(mut subscriber) | Err(mut subscriber)) = started;
        yield Ok(connected(room, me, subscriber.position()));
        if resync {
            yield Ok(Event::default().event("resync").data(json!({"room_id": room}).to_string()));
        }
        let ended = open.ended();
        tokio::pin!(ended);
        loop {
            let events = tokio::select! {
                () = &mut ended => break,
                events = subscriber.next() => events,
            };
            match events {
                Ok(events) => for event in events {
                    yield Ok(event);
                },
                Err(error) => {
                    tracing::warn!(%error, "a stream ends");
                    yield Ok(Event::default().event("error").data(r#"{"message":"Stream error occurred"}"#));
                    break;
                }
            }
        }
        yield Ok(Event::default().retry(RETRY).comment("closing"));
    }
}

fn connected(room: RoomId, me: UserId, position: i64) -> Event {
    let data = json!({"message": format!("Connected to room {room}"), "room_id": room, "user_id": me});
    Event::default().event("connected").id(position.to_string()).retry(RETRY).data(data.to_string())
}

/// Proxies pass every event on at once.
fn unbuffered() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}
