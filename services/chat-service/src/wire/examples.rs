//! Examples of messages, rooms and events in the API document. They are one conversation: `kim_minjun` (user 1) writes to `park_jiho`
//! (user 2), who holds the streams.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::id::{RoomId, UserId};
use serde_json::json;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::{Content, OpenApi, RefOr};

use super::message::MessageBody;
use super::payload::{
    Connected, MessageDeleted, NewMessage, Presence, ReactionChanged, ReadByOthers, ReceivedFriendRequest, Resync,
    RoomCreated, RoomLeft, RoomSettingsBody, StreamError, StreamEvent, Typing,
};
use super::room::{LastMessage, Participant, RoomBody};
use crate::domain::{MessageType, Reaction, RoomSetting};

const MINJUN: UserId = UserId(1);
const JIHO: UserId = UserId(2);
const SEOYEON: UserId = UserId(3);
const YUNA: UserId = UserId(4);
const DIRECT: RoomId = RoomId(1);
const GROUP: RoomId = RoomId(2);
const MESSAGE: &str = "6565f0a1c2d3e4f5a6b7c8d9";
const CLIENT_MESSAGE: &str = "3b1f0c52-0d0b-4f6a-9a43-2f8d5f3f7a10";
const GREETING: &str = "안녕하세요 👋";
const SEQ: i64 = 17;

/// 2026-11-24T13:09:10.500Z, and some seconds.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_525_750_500 + 1_000 * seconds).unwrap_or_default()
}

/// The message as the answer to its send.
pub fn sent() -> MessageBody {
    MessageBody {
        id: MESSAGE.to_owned(),
        user_id: MINJUN,
        room_id: DIRECT,
        room_type: "private".to_owned(),
        content: GREETING.to_owned(),
        message_type: MessageType::Text,
        file_url: None,
        file_name: None,
        file_size: None,
        file_type: None,
        file_state: None,
        image: None,
        is_deleted: false,
        deleted_at: None,
        is_edited: false,
        edited_at: None,
        created_at: at(0),
        updated_at: at(0),
        read_by: None,
        read_by_count: None,
        is_read: None,
        seq: Some(SEQ),
        username: Some("kim_minjun".to_owned()),
        client_message_id: Some(CLIENT_MESSAGE.to_owned()),
        reply_to: None,
        reactions: Vec::new(),
    }
}

/// The message on a page, after the other member has read it.
pub fn listed() -> MessageBody {
    MessageBody { read_by: Some(vec![JIHO]), read_by_count: Some(1), is_read: Some(true), ..sent() }
}

/// The message after its edit.
pub fn edited() -> MessageBody {
    let content = "안녕하세요, 지호 님 👋".to_owned();
    MessageBody { content, is_edited: true, edited_at: Some(at(20)), updated_at: at(20), ..sent() }
}

/// The edited message after a reaction.
pub fn reacted() -> MessageBody {
    MessageBody { reactions: vec![reaction()], ..edited() }
}

fn reaction() -> Reaction {
    Reaction { emoji: "👍".to_owned(), count: 1, user_ids: vec![JIHO] }
}

/// The room of the two, as the author of the message sees it.
pub fn direct_room() -> RoomBody {
    RoomBody {
        id: DIRECT,
        user_1_id: Some(MINJUN),
        user_2_id: Some(JIHO),
        room_type: "direct",
        name: None,
        creator_id: None,
        member_count: 2,
        created_at: at(-60),
        updated_at: at(0),
        participants: vec![participant(MINJUN, "kim_minjun"), participant(JIHO, "park_jiho")],
        last_message: Some(LastMessage {
            id: MESSAGE.to_owned(),
            user_id: MINJUN,
            content: GREETING.to_owned(),
            message_type: MessageType::Text,
            created_at: at(0),
        }),
        unread_count: 0,
        pinned: false,
        muted: false,
    }
}

/// A new group, as its creator sees it.
pub fn group() -> RoomBody {
    RoomBody {
        id: GROUP,
        user_1_id: None,
        user_2_id: None,
        room_type: "group",
        name: Some("점심 모임".to_owned()),
        creator_id: Some(MINJUN),
        member_count: 3,
        updated_at: at(-60),
        participants: [(MINJUN, "kim_minjun"), (JIHO, "park_jiho"), (SEOYEON, "lee_seoyeon")]
            .map(|(id, username)| participant(id, username))
            .into(),
        last_message: None,
        ..direct_room()
    }
}

/// The group after the addition of another member.
pub fn grown_group() -> RoomBody {
    let mut group = group();
    group.participants.push(participant(YUNA, "choi_yuna"));
    let last = LastMessage {
        id: "6565f0c8c2d3e4f5a6b7c8da".to_owned(),
        user_id: MINJUN,
        content: "kim_minjun added choi_yuna".to_owned(),
        message_type: MessageType::System,
        created_at: at(15),
    };
    RoomBody { member_count: 4, updated_at: at(15), last_message: Some(last), ..group }
}

/// The settings of the room after one of them was turned on or off.
pub fn settings(setting: RoomSetting, on: bool) -> RoomSettingsBody {
    let (pinned, muted) = match setting {
        RoomSetting::Pinned => (on, false),
        RoomSetting::Muted => (false, on),
    };
    RoomSettingsBody { room_id: DIRECT, pinned, muted }
}

fn participant(id: UserId, username: &str) -> Participant {
    Participant { id, username: username.to_owned() }
}

/// Adds an example of each event to the two streams.
pub fn add_to_streams(document: &mut OpenApi) {
    for (path, room) in [("/messages/stream/{room_id}", Some(DIRECT)), ("/messages/stream", None)] {
        if let Some(content) = stream_content(document, path) {
            content.examples = events(room);
        }
    }
}

fn stream_content<'a>(document: &'a mut OpenApi, path: &str) -> Option<&'a mut Content> {
    let stream = document.paths.paths.get_mut(path)?.get.as_mut()?;
    let RefOr::T(answer) = stream.responses.responses.get_mut("200")? else { return None };
    let RefOr::T(content) = answer.content.get_mut("text/event-stream")? else { return None };
    Some(content)
}

/// The examples of a stream of one room, or of all rooms, by the names of the events. Those with a position in the log have an id.
fn events(room: Option<RoomId>) -> BTreeMap<String, RefOr<Example>> {
    let reactions = [reaction()];
    let (message_ids, participants) = ([MESSAGE.to_owned()], [MINJUN, JIHO]);
    let (room_id, timestamp) = (DIRECT, at(30));
    let of_room = vec![
        (Some(SEQ - 1), StreamEvent::Connected(Connected::new(room, JIHO))),
        (
            Some(SEQ),
            StreamEvent::NewMessage(NewMessage {
                id: MESSAGE,
                user_id: MINJUN,
                username: "kim_minjun",
                room_id,
                content: GREETING,
                message_type: "text",
                created_at: at(0),
                is_deleted: false,
                seq: SEQ,
                client_message_id: Some(CLIENT_MESSAGE),
                reply_to: None,
                file_url: None,
                file_name: None,
                file_size: None,
                file_type: None,
                file_state: None,
                image: None,
            }),
        ),
        (Some(SEQ + 1), StreamEvent::MessageEdited(Box::new(edited()))),
        (
            Some(SEQ + 3),
            StreamEvent::MessageDeleted(MessageDeleted { message_id: MESSAGE, room_id, deleted_by: MINJUN, timestamp }),
        ),
        (
            Some(SEQ + 2),
            StreamEvent::ReactionChanged(ReactionChanged {
                message_id: MESSAGE,
                room_id,
                user_id: JIHO,
                emoji: "👍",
                added: true,
                reactions: &reactions,
            }),
        ),
        (
            None,
            StreamEvent::MessagesRead(ReadByOthers {
                room_id,
                user_id: JIHO,
                message_ids: &message_ids,
                up_to: Some(SEQ),
                timestamp: at(10),
            }),
        ),
        (None, StreamEvent::Typing(Typing { room_id, user_id: MINJUN, username: "kim_minjun" })),
        (Some(SEQ + 3), StreamEvent::Resync(Resync { room_id: room })),
        (None, StreamEvent::Error(StreamError { message: "Stream error occurred" })),
    ];
    let of_user = vec![
        (
            None,
            StreamEvent::ChatRoomCreated(RoomCreated {
                room_id,
                room_type: "direct",
                creator_id: MINJUN,
                participant_ids: &participants,
                timestamp: at(-60),
            }),
        ),
        (
            None,
            StreamEvent::ChatRoomLeft(RoomLeft {
                room_id: GROUP,
                user_id: JIHO,
                by: Some(MINJUN),
                timestamp: Some(timestamp),
            }),
        ),
        (None, StreamEvent::ChatRoomSettings(RoomSettingsBody { room_id, pinned: true, muted: false })),
        (None, StreamEvent::Presence(Presence { user_id: MINJUN, is_online: false, last_seen_at: Some(timestamp) })),
        (
            None,
            StreamEvent::FriendRequest(ReceivedFriendRequest {
                friendship_id: 3,
                user_id: SEOYEON,
                username: "lee_seoyeon",
            }),
        ),
    ];
    let id = |position| match room {
        Some(_) => format!("{position}.5f3a9c01"),
        None => format!("AZNePHpAfDyaCz8dLkxbag{position}.5f3a9c01"),
    };
    let of_user = of_user.into_iter().filter(|_| room.is_none());
    let events = of_room.into_iter().chain(of_user);
    events.map(|(position, event)| example(&event, position.map(id))).collect()
}

/// The name of an event, and its example. The data of an event is a text that contains JSON.
fn example(event: &StreamEvent<'_>, id: Option<String>) -> (String, RefOr<Example>) {
    let mut fields = json!(event);
    let name = fields["event"].as_str().unwrap_or_default().to_owned();
    fields["data"] = json!(fields["data"].to_string());
    if let Some(id) = id {
        fields["id"] = json!(id);
    }
    (name, ExampleBuilder::new().value(Some(fields)).build().into())
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn every_event_of_the_streams_has_an_example() {
        let schema = json!(StreamEvent::schema());
        let variants = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
        let examples = events(None);
        assert!(variants.len() > 10);
        for variant in variants {
            let name = variant["properties"]["event"]["enum"][0].as_str().unwrap_or_default();
            assert!(examples.contains_key(name), "{name} has no example");
        }
        assert_eq!(examples.len(), variants.len());
    }

    #[test]
    fn the_examples_of_one_room_have_no_event_of_the_user() {
        let examples = events(Some(DIRECT));
        assert!(examples.contains_key("messages_read") && !examples.contains_key("presence"));
        assert_eq!(at(0).to_rfc3339(), "2026-11-24T13:09:10.500+00:00");
    }
}
