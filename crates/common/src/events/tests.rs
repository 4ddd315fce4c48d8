//! Code, golden files and `docs/events.md` agree.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::chat::*;
use super::friend::*;
use super::notification::*;
use super::topics::TopicNames;
use super::user::*;
use super::*;
use crate::id::{RoomId, UserId};

const EVENT_ID: Uuid = Uuid::from_u128(0x0193_5e3c_7a40_7cc1_9d6f_4f1a_2b3c_4d5e);

fn at() -> DateTime<Utc> {
    "2026-11-24T13:09:02.968975Z".parse().unwrap()
}

struct Sample {
    name: &'static str,
    topic: String,
    key: String,
    json: Value,
}

/// An event as it is published, with a version where its stream comes from MySQL.
fn sample<E: Event + PartialEq + std::fmt::Debug>(event: E) -> Sample {
    let version = (E::STREAM != Stream::MessageEvents).then_some(42);
    let payload = encode(EVENT_ID, version, at(), &event).unwrap();
    let topic = TopicNames::default().of(E::STREAM).to_owned();
    assert_eq!(serde_json::from_slice::<E>(&payload).unwrap(), event);
    Sample { name: E::TYPE, topic, key: event.key(), json: serde_json::from_slice(&payload).unwrap() }
}

fn origin() -> Origin {
    Origin {
        session_id: Some(Uuid::from_u128(0x5b0c_1f2e_9d3a_4e57_8c61_2a7f_b3d9_e004)),
        address: Some("203.0.113.7".parse().unwrap()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned()),
    }
}

fn samples() -> Vec<Sample> {
    let (ann, bob) = (UserId(3095), UserId(3097));
    let (room, group) = (RoomId(765), RoomId(766));
    let message = || "6b058c78d9bee20fd65e81af".to_owned();
    let (ann_name, bob_name) = (|| "kim_minjun".to_owned(), || "park_jiho".to_owned());
    vec![
        sample(UserRegistered {
            user_id: ann,
            email: "kim_minjun@example.com".to_owned(),
            username: ann_name(),
            display_name: "김민준".to_owned(),
        }),
        sample(UserProfileUpdated { user_id: ann, display_name: Some("민준".to_owned()), status_message: None }),
        sample(UserOnlineStatusChanged { user_id: ann, is_online: true }),
        sample(FriendRequestSent {
            friendship_id: 1209,
            requester_id: bob,
            requester_name: bob_name(),
            addressee_id: ann,
            addressee_name: ann_name(),
        }),
        sample(FriendRequestAccepted {
            friendship_id: 1209,
            requester_id: bob,
            requester_name: bob_name(),
            addressee_id: ann,
            addressee_name: ann_name(),
        }),
        sample(FriendRequestRejected { friendship_id: Some(1209), requester_id: bob, addressee_id: ann }),
        sample(FriendRequestCancelled { friendship_id: Some(1209), requester_id: bob, addressee_id: ann }),
        sample(FriendRemoved { friendship_id: 1209, user_id: ann, friend_id: bob }),
        sample(UserBlocked { user_id: bob, blocked_user_id: ann }),
        sample(UserUnblocked { user_id: bob, blocked_user_id: ann }),
        sample(MessageSent {
            message_id: message(),
            room_id: room,
            user_id: ann,
            username: ann_name(),
            content: "안녕하세요 👋".to_owned(),
            message_type: "image".to_owned(),
            seq: 7,
            position: 7,
            client_message_id: Some("c-1".to_owned()),
            reply_to: None,
            file_url: Some("/api/messages/6b058c78d9bee20fd65e81af/file".to_owned()),
            file_name: Some("휴가 사진.png".to_owned()),
            file_size: Some(482_113),
            file_type: Some("image/png".to_owned()),
            file_state: Some("pending".to_owned()),
        }),
        sample(MessageFileChecked {
            message_id: message(),
            room_id: room,
            user_id: ann,
            message_type: "image".to_owned(),
            file_state: "ready".to_owned(),
            file_size: Some(479_002),
            position: 11,
        }),
        sample(MessagesRead { room_id: room, user_id: bob, message_ids: vec![message()], up_to: Some(7) }),
        sample(MessageDeleted { message_id: message(), room_id: room, deleted_by: ann, position: 10 }),
        sample(MessageEdited {
            message_id: message(),
            room_id: room,
            user_id: ann,
            content: "안녕!".to_owned(),
            edited_at: at(),
            position: 8,
        }),
        sample(ReactionChanged {
            message_id: message(),
            room_id: room,
            user_id: bob,
            emoji: "👍".to_owned(),
            added: true,
            reactions: vec![Reaction { emoji: "👍".to_owned(), count: 1, user_ids: vec![bob] }],
            position: 9,
        }),
        sample(ChatRoomCreated {
            room_id: room,
            room_type: "direct".to_owned(),
            creator_id: ann,
            participant_ids: vec![ann, bob],
        }),
        sample(MemberAdded { room_id: group, user_id: UserId(3099), by: ann }),
        sample(MemberLeft { room_id: group, user_id: UserId(3099), by: UserId(3099) }),
        sample(LoginFromNewNetwork { user_id: ann, origin: origin() }),
        sample(PasswordChanged { user_id: ann, origin: origin(), ended_sessions: 2 }),
        sample(RefreshTokenReused { user_id: ann, origin: origin() }),
        sample(SecondFactorEnabled { user_id: ann, origin: origin() }),
        sample(SecondFactorDisabled { user_id: ann, origin: origin(), by_recovery_code: false }),
        sample(RecoveryCodeUsed { user_id: ann, origin: Origin { session_id: None, ..origin() }, codes_left: 9 }),
        sample(RecoveryCodesRenewed { user_id: ann, origin: origin() }),
        sample(SecondFactorRefused { user_id: ann, origin: Origin { session_id: None, ..origin() } }),
    ]
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_event_is_encoded_as_its_golden_file() {
    for sample in samples() {
        let golden = read(&format!("tests/golden/{}.json", sample.name));
        let golden: Value = serde_json::from_str(&golden).unwrap();
        assert_eq!(sample.json, golden, "{}", serde_json::to_string_pretty(&sample.json).unwrap());
    }
}

#[test]
fn every_golden_file_belongs_to_an_event() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    let mut known: Vec<_> = samples().iter().map(|sample| format!("{}.json", sample.name)).collect();
    files.sort();
    known.sort();
    assert_eq!(files, known);
}

#[test]
fn the_document_shows_every_event_with_its_golden_file() {
    let document = read("../../docs/events.md");
    for sample in samples() {
        let (name, golden) = (sample.name, read(&format!("tests/golden/{}.json", sample.name)));
        let part = document.split("\n### ").find(|part| part.starts_with(&format!("{name}\n")));
        let part = part.unwrap_or_else(|| panic!("docs/events.md has no part for {name}"));
        assert!(
            part.contains(&format!("```json\n{}\n```", golden.trim_end())),
            "the example of {name} in docs/events.md"
        );
        assert!(part.contains(&format!("`{}`", sample.topic)), "the topic of {name} in docs/events.md");
        assert!(part.contains(&format!("(here `{}`)", sample.key)), "the key of {name} in docs/events.md");
    }
    let shown = document.matches("\n### ").count();
    assert_eq!(shown, samples().len(), "docs/events.md shows events that do not exist");
}

#[test]
fn a_version_can_be_added_after_encoding() {
    let event = UserBlocked { user_id: UserId(2), blocked_user_id: UserId(1) };
    let before = String::from_utf8(encode(EVENT_ID, None, at(), &event).unwrap()).unwrap();
    let at_once = String::from_utf8(encode(EVENT_ID, Some(9), at(), &event).unwrap()).unwrap();
    assert_eq!(with_version(before, 9), at_once);
}

#[test]
fn events_between_two_users_have_one_key_whichever_of_them_acts() {
    let blocked = |user_id, blocked_user_id| UserBlocked { user_id, blocked_user_id }.key();
    assert_eq!(blocked(UserId(2), UserId(1)), blocked(UserId(1), UserId(2)));
    assert_eq!(FriendRemoved { friendship_id: 1, user_id: UserId(2), friend_id: UserId(1) }.key(), "1");
}
