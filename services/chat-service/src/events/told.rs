//! The events themselves.

use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::events::chat::{MessageDeleted, MessageEdited, MessageSent, MessagesRead, Reaction, ReactionChanged};
use common::events::{Event, encode};
use common::id::UserId;
use common::kafka::producer::Trace;
use uuid::Uuid;

use crate::domain::{self, Change, Message, Reacted};
use crate::store::{Pending, Place};

/// The event of something that happened to a message: a change of it, or its birth.
pub fn of_message(
    message: &Message,
    change: Option<&Change>,
    by: UserId,
    place: Place,
    event_id: Uuid,
    at: DateTime<Utc>,
    trace: &Trace,
) -> Result<Pending> {
    match change {
        None => pending(event_id, at, &sent(message, place), trace),
        Some(Change::Edit { .. }) => pending(event_id, at, &edited(message, by, place), trace),
        Some(Change::Delete) => pending(event_id, at, &deleted(message, by, place), trace),
        Some(Change::React(reacted)) => pending(event_id, at, &reaction_changed(message, by, reacted, place), trace),
    }
}

/// The event of a read.
pub fn of_read(read: &MessagesRead, event_id: Uuid, at: DateTime<Utc>) -> Result<Pending> {
    pending(event_id, at, read, &Trace::current())
}

fn pending<E: Event>(event_id: Uuid, at: DateTime<Utc>, event: &E, trace: &Trace) -> Result<Pending> {
    let payload = String::from_utf8(encode(event_id, None, at, event)?).map_err(Error::internal)?;
    Ok(Pending { payload, request_id: trace.request_id.clone(), traceparent: trace.traceparent.clone() })
}

fn sent(message: &Message, place: Place) -> MessageSent {
    MessageSent {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: message.user_id,
        username: message.username.clone().unwrap_or_default(),
        content: message.content.clone(),
        message_type: message.message_type.as_str().to_owned(),
        seq: place.at,
        position: place.at,
        client_message_id: message.client_message_id.clone(),
        reply_to: message.reply_to.clone(),
    }
}

fn edited(message: &Message, by: UserId, place: Place) -> MessageEdited {
    MessageEdited {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: by,
        content: message.content.clone(),
        edited_at: message.edited_at.unwrap_or(message.updated_at),
        position: place.at,
    }
}

fn deleted(message: &Message, by: UserId, place: Place) -> MessageDeleted {
    MessageDeleted { message_id: message.id.to_hex(), room_id: message.room_id, deleted_by: by, position: place.at }
}

fn reaction_changed(message: &Message, by: UserId, reacted: &Reacted, place: Place) -> ReactionChanged {
    let reaction =
        |r: &domain::Reaction| Reaction { emoji: r.emoji.clone(), count: r.count, user_ids: r.user_ids.clone() };
    ReactionChanged {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: by,
        emoji: reacted.emoji.clone(),
        added: reacted.added,
        reactions: message.reactions.iter().map(reaction).collect(),
        position: place.at,
    }
}
