//! Code, golden files and `docs/events.md` say the same, and what the original publishes can be read.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::chat::*;
use super::friend::*;
use super::user::*;
use super::*;
use crate::id::{RoomId, UserId};
use crate::kafka::TopicNames;
use crate::kafka::record::Fetched;

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

/// One event as it is published: with a version where it comes through MySQL.
fn sample<E: Event + PartialEq + std::fmt::Debug>(event: E) -> Sample {
    let version = (E::STREAM != Stream::MessageEvents).then_some(42);
    let payload = encode(EVENT_ID, version, at(), &event).unwrap();
    let topic = TopicNames::default().of(E::STREAM).to_owned();
    let received = Received::read(fetched(&topic, &event.key(), payload.clone())).unwrap();
    assert_eq!(received.decode::<E>().unwrap(), event);
    assert_eq!((received.version, received.timestamp), (version.unwrap_or(0), at()));
    assert_eq!(received.event_id, Some(EVENT_ID));
    Sample { name: E::TYPE, topic, key: event.key(), json: serde_json::from_slice(&payload).unwrap() }
}

fn fetched(topic: &str, key: &str, payload: impl Into<bytes::Bytes>) -> Fetched {
    Fetched {
        topic: topic.to_owned(),
        partition: 0,
        offset: 0,
        key: key.to_owned(),
        payload: payload.into(),
        headers: Vec::new(),
        at: Utc::now(),
    }
}

fn samples() -> Vec<Sample> {
    let (ann, bob, room) = (UserId(3095), UserId(3097), RoomId(765));
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
            message_type: "text".to_owned(),
            seq: 7,
            position: 7,
            client_message_id: Some("c-1".to_owned()),
            reply_to: None,
        }),
        sample(MessagesRead { room_id: room, user_id: bob, message_ids: vec![message()], up_to: Some(7) }),
        sample(MessageDeleted { message_id: message(), room_id: room, deleted_by: ann, position: 9 }),
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
            position: 8,
        }),
        sample(ChatRoomCreated {
            room_id: room,
            room_type: "direct".to_owned(),
            creator_id: ann,
            participant_ids: vec![ann, bob],
        }),
        sample(MemberAdded { room_id: room, user_id: UserId(3099), by: ann }),
        sample(MemberLeft { room_id: room, user_id: UserId(3099), by: UserId(3099) }),
    ]
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_event_is_published_as_its_golden_file_says() {
    for sample in samples() {
        let golden = read(&format!("tests/golden/{}.json", sample.name));
        let golden: Value = serde_json::from_str(&golden).unwrap();
        assert_eq!(sample.json, golden, "{}", serde_json::to_string_pretty(&sample.json).unwrap());
    }
}

#[test]
fn no_golden_file_is_of_an_event_that_there_is_not() {
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
    assert_eq!(shown, samples().len(), "docs/events.md shows events that there are not");
}

/// A line of `events.jsonl`: a record as the original wrote it.
#[derive(Deserialize)]
struct Original {
    topic: String,
    key: String,
    value: Value,
}

fn of_the_original() -> Vec<Received> {
    let records = read("tests/fixtures/original-events.jsonl");
    let records = records.lines().map(|line| serde_json::from_str::<Original>(line).unwrap());
    records.map(|o| Received::read(fetched(&o.topic, &o.key, o.value.to_string())).unwrap()).collect()
}

#[test]
fn what_the_original_publishes_is_understood() {
    let mut types = std::collections::BTreeSet::new();
    for event in of_the_original() {
        match event.event_type.as_str() {
            UserRegistered::TYPE => drop(event.decode::<UserRegistered>().unwrap()),
            UserOnlineStatusChanged::TYPE => drop(event.decode::<UserOnlineStatusChanged>().unwrap()),
            FriendRequestSent::TYPE => drop(event.decode::<FriendRequestSent>().unwrap()),
            FriendRequestAccepted::TYPE => drop(event.decode::<FriendRequestAccepted>().unwrap()),
            FriendRequestRejected::TYPE => {
                assert_eq!(event.decode::<FriendRequestRejected>().unwrap().friendship_id, None)
            }
            FriendRequestCancelled::TYPE => {
                assert_eq!(event.decode::<FriendRequestCancelled>().unwrap().friendship_id, None)
            }
            MessageSent::TYPE => assert_eq!(event.decode::<MessageSent>().unwrap().position, 0),
            MessageDeleted::TYPE => assert_eq!(event.decode::<MessageDeleted>().unwrap().position, 0),
            other => panic!("{other}"),
        }
        assert_eq!((event.version, event.event_id), (0, None));
        types.insert(event.event_type);
    }
    assert_eq!(types.len(), 8, "the fixture holds every type of that run");
}

#[test]
fn a_time_without_a_zone_is_utc() {
    let payload = r#"{"timestamp":"2026-11-24T13:09:03.212848","user_id":1,"__event_type__":"X"}"#;
    let event = Received::read(fetched("t", "1", payload)).unwrap();
    assert_eq!(event.timestamp, "2026-11-24T13:09:03.212848Z".parse::<DateTime<Utc>>().unwrap());
}

#[test]
fn what_is_no_event_is_told_apart_from_an_unknown_one() {
    for garbage in ["", "[1]", "nonsense", r#"{"user_id":1}"#, r#"{"event_type":"X","timestamp":"yesterday"}"#] {
        assert!(Received::read(fetched("t", "1", garbage)).is_err(), "{garbage}");
    }
    assert!(Received::read(fetched("t", "1", r#"{"event_type":"FromTheFuture"}"#)).is_ok());
}

#[test]
fn the_version_is_added_to_what_is_already_encoded() {
    let event = UserBlocked { user_id: UserId(2), blocked_user_id: UserId(1) };
    let before = String::from_utf8(encode(EVENT_ID, None, at(), &event).unwrap()).unwrap();
    let at_once = String::from_utf8(encode(EVENT_ID, Some(9), at(), &event).unwrap()).unwrap();
    assert_eq!(with_version(before, 9), at_once);
}

#[test]
fn events_between_two_people_have_one_key_whoever_acts() {
    let blocked = |user_id, blocked_user_id| UserBlocked { user_id, blocked_user_id }.key();
    assert_eq!(blocked(UserId(2), UserId(1)), blocked(UserId(1), UserId(2)));
    assert_eq!(FriendRemoved { friendship_id: 1, user_id: UserId(2), friend_id: UserId(1) }.key(), "1");
}
