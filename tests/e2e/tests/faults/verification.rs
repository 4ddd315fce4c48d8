//! The verification after a fault: the acknowledged changes, the store, the readers' streams and the topics agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Events, SLACK};

use crate::history::History;
use crate::load::{Load, Room};
use crate::mysql_events;
use crate::readers::{Delivery, LogEntry, Reader};
use crate::stack::setting;

/// The deadline for all events to be on the topics after every process is up again.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The interval at which a topic is read again.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The result of a verification.
pub struct Report {
    pub history: History,
    /// The longest time from the acknowledgement of a message to its delivery to a reader.
    pub max_lag: Duration,
}

/// The state of a room in the store.
pub struct StoredRoom {
    room: i64,
    /// The contents of the messages that are not deleted, by id.
    pub listed: BTreeMap<String, String>,
    /// The number of messages that are not deleted, as the head counts them.
    pub total: i64,
    pub log: Vec<LogEntry>,
}

/// Verifies a stopped load. All events have to be on the topics soon after `all_up`.
pub async fn verify(load: &Load, readers: Vec<Reader>, all_up: Instant) -> Report {
    let history = std::mem::take(&mut *load.recorder.history());
    let mut rooms = BTreeMap::new();
    for room in load.rooms.iter() {
        let stored = stored_room(room).await;
        assert_acknowledged_is_stored(&history, &stored);
        rooms.insert(room.id, stored);
    }
    let mut max_lag = Duration::ZERO;
    for reader in readers {
        let stored = &rooms[&reader.room];
        let deliveries = reader.read_to(stored.log.len() as i64).await;
        let delivered: Vec<&LogEntry> = deliveries.iter().map(|delivery| &delivery.entry).collect();
        assert!(delivered.iter().copied().eq(&stored.log), "a reader of room {} received another log", stored.room);
        max_lag = max_lag.max(lag(&history, &deliveries));
    }
    let deadline = all_up + SLACK * PUBLISH_DEADLINE;
    let records = wait_until_published(&rooms, deadline).await;
    mysql_events::verify(&history, deadline).await;
    let report = Report { history, max_lag };
    report.print(&rooms, records);
    report
}

/// The longest time from an acknowledgement to a delivery.
fn lag(history: &History, deliveries: &[Delivery]) -> Duration {
    let new = deliveries.iter().filter(|delivery| delivery.entry.name == "new_message");
    let lags = new.filter_map(|delivery| {
        let acknowledged = history.messages.get(&delivery.entry.message)?.at;
        Some(delivery.at.saturating_duration_since(acknowledged))
    });
    lags.max().unwrap_or_default()
}

pub async fn stored_room(room: &Room) -> StoredRoom {
    let me = &room.people[0].client;
    let path = format!("/api/messages/{}?limit=100", room.id);
    let mut page = me.get(&path).await.expect(200);
    let (head, total) = (page["position"].as_i64().unwrap(), page["total_count"].as_i64().unwrap());
    let mut listed = BTreeMap::new();
    loop {
        let messages = page["messages"].as_array().unwrap();
        for message in messages {
            let text = |field: &str| message[field].as_str().unwrap().to_owned();
            assert!(listed.insert(text("id"), text("content")).is_none(), "{message} is listed twice");
        }
        if page["has_more"] != true {
            break;
        }
        let oldest = messages[0]["id"].as_str().unwrap();
        page = me.get(&format!("{path}&before={oldest}")).await.expect(200);
    }
    let url = setting("CHAT_URL");
    let log = Reader::start(room.id, &room.people[0], &url).read_to(head).await;
    StoredRoom { room: room.id, listed, total, log: log.into_iter().map(|delivery| delivery.entry).collect() }
}

/// Every operation was repeated until its answer, so the store has exactly the acknowledged changes.
fn assert_acknowledged_is_stored(history: &History, stored: &StoredRoom) {
    let own = || history.messages.iter().filter(|(_, sent)| sent.room == stored.room);
    let listed: BTreeMap<String, String> =
        own().filter(|(_, sent)| !sent.deleted).map(|(id, sent)| (id.clone(), sent.content.clone())).collect();
    assert_eq!(listed, stored.listed, "room {}: acknowledged, and listed", stored.room);
    let positions: Vec<i64> = stored.log.iter().map(|entry| entry.position).collect();
    assert!(positions.iter().copied().eq(1..=positions.len() as i64), "room {}: {positions:?}", stored.room);
    let logged = |name: &str| -> Vec<&String> {
        stored.log.iter().filter(|entry| entry.name == name).map(|entry| &entry.message).collect()
    };
    let deleted: Vec<&String> = own().filter(|(_, sent)| sent.deleted).map(|(id, _)| id).collect();
    let sent: Vec<&String> = own().map(|(id, _)| id).collect();
    assert_eq!(sorted(logged("new_message")), sent, "every message is new once");
    assert_eq!(sorted(logged("message_deleted")), deleted, "every deleted message is deleted once");
    let edited: Vec<&String> = own().map(|(id, _)| id).filter(|id| history.edits.contains_key(*id)).collect();
    let mut logged_edits = sorted(logged("message_edited"));
    logged_edits.dedup_by(|again, id| again == id && history.edits.get(*id) == Some(&true));
    assert_eq!(logged_edits, edited, "every edited message is edited once, or its request was repeated");
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// Waits until the topic has every position of every room, and compares the records with the logs. Returns the number of
/// records.
async fn wait_until_published(rooms: &BTreeMap<i64, StoredRoom>, deadline: Instant) -> usize {
    loop {
        let records = Events::of("message.events").all().await;
        let of_ours =
            records.iter().filter(|record| rooms.contains_key(&record["room_id"].as_i64().unwrap_or_default()));
        let published: Vec<(i64, &Value)> =
            of_ours.filter_map(|record| Some((record["position"].as_i64()?, record))).collect();
        let missing: usize = rooms.values().map(|stored| missing(stored, &published)).sum();
        if missing == 0 {
            rooms.values().for_each(|stored| assert_published_is_stored(stored, &published));
            return published.len();
        }
        assert!(Instant::now() < deadline, "{missing} events are not on message.events at the deadline");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn of_room<'a>(stored: &StoredRoom, published: &'a [(i64, &'a Value)]) -> impl Iterator<Item = (i64, &'a Value)> {
    let room = stored.room;
    published.iter().copied().filter(move |(_, record)| record["room_id"] == room)
}

/// The number of positions without a record.
fn missing(stored: &StoredRoom, published: &[(i64, &Value)]) -> usize {
    let positions: BTreeSet<i64> = of_room(stored, published).map(|(position, _)| position).collect();
    stored.log.iter().filter(|entry| !positions.contains(&entry.position)).count()
}

/// Every position has one event, which may be on the topic several times and agrees with the log.
fn assert_published_is_stored(stored: &StoredRoom, published: &[(i64, &Value)]) {
    let mut ids = BTreeMap::new();
    for (position, record) in of_room(stored, published) {
        let id = record["event_id"].as_str().unwrap();
        assert_eq!(*ids.entry(position).or_insert(id), id, "one event for position {position}");
        let entry = usize::try_from(position - 1).ok().and_then(|index| stored.log.get(index));
        let entry = entry.unwrap_or_else(|| panic!("an event of no committed change: {record}"));
        let name = match record["event_type"].as_str().unwrap() {
            "MessageSent" => "new_message",
            "MessageEdited" => "message_edited",
            "MessageDeleted" => "message_deleted",
            other => panic!("{other} has no position"),
        };
        assert_eq!((name, record["message_id"].as_str().unwrap()), (entry.name.as_str(), entry.message.as_str()));
    }
}

impl Report {
    fn print(&self, rooms: &BTreeMap<i64, StoredRoom>, records: usize) {
        let positions: usize = rooms.values().map(|stored| stored.log.len()).sum();
        let History { messages, friendships, profiles, newcomers, .. } = &self.history;
        println!(
            "  verified: {} messages in {positions} positions, {} repeated records; {} changes of friendships and {} of \
             profiles, {} new users; maximum lag of a reader {:.1} s; failed attempts by status: {:?}",
            messages.len(),
            records - positions,
            friendships.values().sum::<usize>(),
            profiles.values().sum::<usize>(),
            newcomers.len(),
            self.max_lag.as_secs_f32(),
            self.history.failures_by_status(),
        );
    }
}
