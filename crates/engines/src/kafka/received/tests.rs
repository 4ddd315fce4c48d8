//! Events of this system and of the original are read.

use std::fs;
use std::path::Path;

use common::events::chat::{MessageDeleted, MessageSent};
use common::events::friend::{FriendRequestAccepted, FriendRequestCancelled, FriendRequestRejected, FriendRequestSent};
use common::events::user::{UserOnlineStatusChanged, UserRegistered};
use serde_json::Value;

use super::*;

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

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_common_fields_of_every_event_are_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/tests/golden");
    for file in fs::read_dir(golden).unwrap() {
        let json = fs::read_to_string(file.unwrap().path()).unwrap();
        let golden: Value = serde_json::from_str(&json).unwrap();

        let received = Received::read(fetched("t", "1", json)).unwrap();

        assert_eq!(received.event_type, golden["event_type"].as_str().unwrap());
        assert_eq!(received.event_id, Some(golden["event_id"].as_str().unwrap().parse().unwrap()));
        assert_eq!(received.version, golden["version"].as_u64().unwrap_or(0));
        assert_eq!(received.timestamp, "2026-11-24T13:09:02.968975Z".parse::<DateTime<Utc>>().unwrap());
    }
}

/// A line of the fixture: a record that the original published.
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
fn events_of_the_original_are_decoded() {
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
fn the_reason_of_a_malformed_record_has_no_value_of_it() {
    for (payload, reason) in [
        (r#"{"event_type":"X","timestamp":"ann@example.com"}"#, "its timestamp is no time"),
        (
            r#"{"event_type":5,"email":"ann@example.com"}"#,
            "not an event: invalid type: integer …, expected a string at line 1 column 15",
        ),
        (
            r#"{"event_type":"X","version":"ann@example.com"}"#,
            "not an event: invalid type: string …, expected u64 at line 1 column 45",
        ),
        (r#""ann@example.com""#, "not an event: invalid type: string …, expected struct Head at line 1 column 17"),
    ] {
        assert_eq!(Received::read(fetched("t", "1", payload)).unwrap_err().reason, reason);
    }
    let payload = r#"{"event_type":"UserRegistered","user_id":"ann@example.com"}"#;
    let unreadable = Received::read(fetched("t", "1", payload)).unwrap().decode::<UserRegistered>().unwrap_err();
    assert_eq!(unreadable.to_string(), "internal error: invalid type: string …, expected i64 at line 1 column 58");
}

#[test]
fn a_malformed_record_differs_from_an_event_of_an_unknown_type() {
    for garbage in ["", "[1]", "nonsense", r#"{"user_id":1}"#, r#"{"event_type":"X","timestamp":"yesterday"}"#] {
        assert!(Received::read(fetched("t", "1", garbage)).is_err(), "{garbage}");
    }
    assert!(Received::read(fetched("t", "1", r#"{"event_type":"FromTheFuture"}"#)).is_ok());
}
