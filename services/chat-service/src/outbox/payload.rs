//! The events of messages and reads.

use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::events::chat::{
    MessageDeleted, MessageEdited, MessageFileChecked, MessageSent, MessagesRead, Reaction, ReactionChanged,
};
use common::events::{Event, encode};
use common::id::UserId;
use platform::telemetry::Trace;
use service::clients::user::UNKNOWN_USERNAME;
use uuid::Uuid;

use crate::domain::{self, FileState, Message, MessageChange, ReactionChange};
use crate::store::{LogPosition, OutboxEvent};

/// The event of a log entry: of a change, or without one, of the send.
pub fn of_message(
    message: &Message,
    change: Option<&MessageChange>,
    by: UserId,
    id: LogPosition,
    event_id: Uuid,
    at: DateTime<Utc>,
    trace: &Trace,
) -> Result<OutboxEvent> {
    match change {
        // The frame that another replica makes of the event shows this time.
        None => outbox_event(event_id, message.created_at, &sent(message, id), trace),
        Some(MessageChange::Edit { .. }) => outbox_event(event_id, at, &edited(message, by, id), trace),
        Some(MessageChange::File(_)) => outbox_event(event_id, at, &file_checked(message, id), trace),
        Some(MessageChange::Delete) => outbox_event(event_id, at, &deleted(message, by, id), trace),
        Some(MessageChange::React(reaction)) => {
            outbox_event(event_id, at, &reaction_changed(message, by, reaction, id), trace)
        }
    }
}

/// The event of a read.
pub fn of_read(read: &MessagesRead, event_id: Uuid, at: DateTime<Utc>, trace: &Trace) -> Result<OutboxEvent> {
    outbox_event(event_id, at, read, trace)
}

fn outbox_event<E: Event>(event_id: Uuid, at: DateTime<Utc>, event: &E, trace: &Trace) -> Result<OutboxEvent> {
    let payload = String::from_utf8(encode(event_id, None, at, event)?).map_err(Error::internal)?;
    Ok(OutboxEvent { payload, request_id: trace.request_id.clone(), traceparent: trace.traceparent.clone() })
}

fn sent(message: &Message, id: LogPosition) -> MessageSent {
    MessageSent {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: message.user_id,
        username: message.username.clone().unwrap_or_else(|| UNKNOWN_USERNAME.to_owned()),
        content: message.content.clone(),
        message_type: message.message_type.as_str().to_owned(),
        seq: id.position,
        position: id.position,
        client_message_id: message.client_message_id.clone(),
        reply_to: message.reply_to.clone(),
        file_url: message.file_url.clone(),
        file_name: message.file_name.clone(),
        file_size: message.file_size,
        file_type: message.file_type.clone(),
        file_state: message.file_state.map(|state| state.as_str().to_owned()),
    }
}

fn file_checked(message: &Message, id: LogPosition) -> MessageFileChecked {
    MessageFileChecked {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: message.user_id,
        message_type: message.message_type.as_str().to_owned(),
        file_state: message.file_state.map(FileState::as_str).unwrap_or_default().to_owned(),
        file_size: message.file_size,
        position: id.position,
    }
}

fn edited(message: &Message, by: UserId, id: LogPosition) -> MessageEdited {
    MessageEdited {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: by,
        content: message.content.clone(),
        edited_at: message.edited_at.unwrap_or(message.updated_at),
        position: id.position,
    }
}

fn deleted(message: &Message, by: UserId, id: LogPosition) -> MessageDeleted {
    MessageDeleted { message_id: message.id.to_hex(), room_id: message.room_id, deleted_by: by, position: id.position }
}

fn reaction_changed(message: &Message, by: UserId, reaction: &ReactionChange, id: LogPosition) -> ReactionChanged {
    let to_event =
        |r: &domain::Reaction| Reaction { emoji: r.emoji.clone(), count: r.count, user_ids: r.user_ids.clone() };
    ReactionChanged {
        message_id: message.id.to_hex(),
        room_id: message.room_id,
        user_id: by,
        emoji: reaction.emoji.clone(),
        added: reaction.added,
        reactions: message.reactions.iter().map(to_event).collect(),
        position: id.position,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DurationRound, TimeDelta};
    use common::events::chat::MessageSent;
    use common::id::RoomId;
    use serde_json::Value;

    use super::*;
    use crate::domain::{EntryKind, MessageType, RosterChange};
    use crate::store::Entry;
    use crate::wire::Frame;

    #[test]
    fn the_frame_of_an_event_equals_the_frame_of_the_message() {
        let sent_at = Utc::now().duration_trunc(TimeDelta::milliseconds(1)).unwrap();
        let roster = RosterChange { joined: true, users: Vec::new() };
        for username in [None, Some("ann".to_owned())] {
            let (message_id, content) = (bson::oid::ObjectId::new(), "안녕".to_owned());
            let mut message =
                Message::system(message_id, RoomId(7), UserId(1), username, content, roster.clone(), sent_at);
            (message.message_type, message.roster_change, message.seq) = (MessageType::Text, None, Some(3));
            let id = LogPosition { room: RoomId(7), position: 3 };
            let trace = Trace { request_id: None, traceparent: None };
            // The writer takes the message a moment later.
            let taken_at = sent_at + TimeDelta::milliseconds(40);

            let event = of_message(&message, None, UserId(1), id, Uuid::now_v7(), taken_at, &trace).unwrap();

            let json: Value = serde_json::from_str(&event.payload).unwrap();
            let at = common::time::parse(json["timestamp"].as_str().unwrap()).unwrap();
            let remote = Frame::of_event(&serde_json::from_value::<MessageSent>(json).unwrap(), at);
            let (by, event_id) = (UserId(1), bson::Uuid::new());
            let entry = Entry { id, kind: EntryKind::Sent, message_id, by, event_id, reaction: None, event: None };
            let local = Frame::of_entry(&entry, &message);
            assert_eq!(format!("{remote:?}"), format!("{local:?}"));
        }
    }
}
