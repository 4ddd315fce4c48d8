//! Listing messages.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bson::oid::ObjectId;
use common::error::{Error, ErrorBody, Result};
use common::id::{RoomId, UserId};
use common::input::{Input, Int, Invalid};
use deserr::Deserr;
use platform::http::{Path, Query};
use service::auth::CurrentUser;
use utoipa::{IntoParams, ToSchema};

use crate::api::responses::RoomErrors;
use crate::domain::{Message, ReadMarker};
use crate::state::AppState;
use crate::store::ListCursor;
use crate::wire::{ListedMessage, MessageBody, examples};

/// Limit on the messages that a page skips: the server reads each of them, in about a microsecond. A cursor reads none.
const MAX_SKIP: i64 = 10_000;

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct Page {
    #[deserr(default = Int(50))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 100, default = 50)]
    limit: Int<1, 100>,
    #[deserr(default = Int(0))]
    /// The number of newest messages that the page leaves out. Beyond 10,000, use `before`.
    #[param(value_type = i64, required = false, minimum = 0, maximum = 10_000, default = 0)]
    skip: Int<0, MAX_SKIP>,
    /// The id of a message. The page contains the messages directly before it.
    #[deserr(default)]
    before: Option<String>,
    /// The id of a message. The page contains the messages directly after it.
    #[deserr(default)]
    after: Option<String>,
}

impl Input for Page {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("offset", "skip")];
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct RoomPage {
    #[param(value_type = i64, minimum = 1)]
    room_id: RoomId,
    #[deserr(default = Int(50))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 100, default = 50)]
    limit: Int<1, 100>,
    #[deserr(default = Int(0))]
    /// The number of newest messages that the page leaves out.
    #[param(value_type = i64, required = false, minimum = 0, maximum = 10_000, default = 0)]
    offset: Int<0, MAX_SKIP>,
}

impl Input for RoomPage {}

/// A page of messages, oldest first.
#[derive(Debug, ToSchema)]
pub struct MessagePage {
    #[schema(value_type = Vec<MessageBody>, example = json!([examples::listed()]))]
    messages: Vec<u8>,
    /// The number of messages of the room that are not deleted.
    #[schema(example = 12)]
    total_count: i64,
    /// Whether more messages follow in the direction of the page: newer ones with `after`, older ones otherwise.
    #[schema(example = true)]
    has_more: bool,
    /// The newest position of the room when the page was read: a stream that starts after it contains all events after this page.
    #[schema(example = 17)]
    position: i64,
    /// The position with the epoch of the store: the `Last-Event-ID` with which a client opens the stream. If the store is restored
    /// from a backup before that, the stream begins with `resync`; `position` alone cannot show this.
    #[schema(example = "17.5f3a9c01")]
    last_event_id: String,
}

impl IntoResponse for MessagePage {
    fn into_response(self) -> Response {
        let Self { messages, total_count, has_more, position, last_event_id } = self;
        let mut json = b"{\"messages\":[".to_vec();
        json.extend(messages);
        // The id needs no escapes.
        let rest = format!(
            r#"],"total_count":{total_count},"has_more":{has_more},"position":{position},"last_event_id":"{last_event_id}"}}"#
        );
        json.extend(rest.into_bytes());
        ([(CONTENT_TYPE, "application/json")], json).into_response()
    }
}

/// List messages of a room: the newest after `skip`, or those directly before or after a message.
#[utoipa::path(
    get,
    operation_id = "listMessages",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room"), Page),
    responses(
        (status = 200, description = "A page of messages", body = MessagePage),
        (status = 429, description = "`before` or `after` named unknown messages too often in this minute", body = ErrorBody),
        RoomErrors,
    ),
)]
pub async fn list(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Query(page): Query<Page>,
) -> Result<MessagePage> {
    page_of(&app, &me, room, page).await
}

/// List messages of the room that the query names.
#[utoipa::path(
    get,
    operation_id = "listMessagesByQuery",
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    params(RoomPage),
    responses(
        (status = 200, description = "A page of messages", body = MessagePage),
        RoomErrors,
    ),
)]
pub async fn list_by_query(
    State(app): State<AppState>,
    me: CurrentUser,
    Query(page): Query<RoomPage>,
) -> Result<MessagePage> {
    let RoomPage { room_id, limit, offset } = page;
    page_of(&app, &me, room_id, Page { limit, skip: offset, before: None, after: None }).await
}

/// All markers of a room with so few members are read beside the head. A marker has up to 128 ranges, so those of larger
/// rooms are read as far as they concern the page, which is known after the messages.
const FEW_MEMBERS: usize = 8;

async fn page_of(app: &AppState, me: &CurrentUser, room: RoomId, page: Page) -> Result<MessagePage> {
    let of_room = app.room(room, me).await?;
    let few = of_room.members.len() <= FEW_MEMBERS;
    let cursor = cursor(app, me, room, &page).await?;
    // The messages are read in a session after the head, so that the page or the stream from the head's position contains
    // every message. If the store is restored in between, the epoch is the old one, with which the stream begins anew.
    let epoch = app.epochs.of_stream(false).await?;
    let markers = async { if few { app.markers.of_room(&of_room).await } else { Ok(HashMap::new()) } };
    let rooms = [room];
    let (heads, all_readers) = tokio::try_join!(app.log.heads(&rooms), markers)?;
    let head = heads.of.get(&room);
    let limit = page.limit.0 as usize;
    // One message more than the limit shows whether there are more.
    let (newest, listed);
    let messages = match (head, cursor) {
        (Some(head), ListCursor::Skip(0)) => {
            newest = app.newest.of(epoch, head, limit + 1, &heads).await?;
            newest.last(limit + 1)
        }
        _ => {
            let found = app.messages.list(room, cursor, page.limit.0 + 1, &mut heads.session().await?).await?;
            listed = found.iter().map(ListedMessage::of).collect::<Result<Vec<_>>>()?;
            &listed
        }
    };
    let has_more = messages.len() > limit;
    let messages = match cursor {
        ListCursor::After(_) => &messages[..messages.len().min(limit)],
        ListCursor::Skip(_) | ListCursor::Before(_) => &messages[messages.len().saturating_sub(limit)..],
    };
    let positions = messages.first().zip(messages.last()).and_then(|(first, last)| first.seq.zip(last.seq));
    let readers = match positions {
        Some((first, last)) if !few => app.markers.of_page(me.id, room, first, last).await?,
        _ => all_readers,
    };
    let position = head.map_or(0, |head| head.position);
    Ok(MessagePage {
        messages: bodies(messages, &readers, me.id)?,
        total_count: head.map_or(0, |head| head.total()),
        has_more,
        position,
        last_event_id: epoch.id(position),
    })
}

/// The bodies of messages, separated by commas.
fn bodies(messages: &[ListedMessage], readers: &HashMap<UserId, ReadMarker>, me: UserId) -> Result<Vec<u8>> {
    let mut json = Vec::with_capacity(messages.iter().map(ListedMessage::bytes).sum());
    for message in messages {
        if !json.is_empty() {
            json.push(b',');
        }
        message.write(readers, me, &mut json)?;
    }
    Ok(json)
}

async fn cursor(app: &AppState, me: &CurrentUser, room: RoomId, page: &Page) -> Result<ListCursor> {
    match (&page.before, &page.after) {
        (Some(id), _) => Ok(ListCursor::Before(position(app, me, room, id).await?)),
        (None, Some(id)) => Ok(ListCursor::After(position(app, me, room, id).await?)),
        (None, None) => Ok(ListCursor::Skip(page.skip.0.unsigned_abs())),
    }
}

/// The position of a message of the room. A majority of MongoDB, which is asked before a message is called unknown, costs a write,
/// so it counts as one. A message of another room is as unknown.
async fn position(app: &AppState, me: &CurrentUser, room: RoomId, id: &str) -> Result<i64> {
    let unknown = || Error::not_found("Message not found");
    let id = ObjectId::parse_str(id).map_err(|_| unknown())?;
    let of_room = |message: Message| (message.room_id == room).then_some(message.seq).flatten();
    if let Some(position) = app.messages.get_unconfirmed(id).await?.and_then(of_room) {
        return Ok(position);
    }
    app.budgets.changes.spend(me.id).await?;
    app.messages.get_confirmed(id).await?.and_then(of_room).ok_or_else(unknown)
}
