//! The account at the end: what was acknowledged, what the store has, what readers saw and what the topics tell are the
//! same, change by change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Events;

use crate::facts;
use crate::ledger::Ledger;
use crate::load::{Load, Room};
use crate::readers::{Reader, Seen, Told};
use crate::stack::setting;

/// How long after everything is back it has to be on the topics.
pub const IN_TIME: Duration = Duration::from_secs(30);

/// Between two looks at a topic.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was found.
pub struct Account {
    pub ledger: Ledger,
    /// The longest that a message took from its acknowledgement to a reader.
    pub behind: Duration,
}

/// A room as the store has it.
struct Stored {
    room: i64,
    /// Messages that are not deleted, by id.
    listed: BTreeMap<String, String>,
    log: Vec<Told>,
}

/// Closes the books of a load that has stopped. Everything has to be on the topics by then.
pub async fn close(load: &Load, readers: Vec<Reader>, by: Instant) -> Account {
    let ledger = std::mem::take(&mut *load.book.open());
    let mut rooms = BTreeMap::new();
    for room in load.rooms.iter() {
        let stored = stored(room).await;
        acknowledged_is_stored(&ledger, &stored);
        rooms.insert(room.id, stored);
    }
    let mut behind = Duration::ZERO;
    for reader in readers {
        let stored = &rooms[&reader.room];
        let seen = reader.up_to(stored.log.len() as i64).await;
        let told: Vec<&Told> = seen.iter().map(|seen| &seen.told).collect();
        assert!(told.iter().copied().eq(&stored.log), "a reader of room {} saw another log", stored.room);
        behind = behind.max(longest(&ledger, &seen));
    }
    let records = published(&rooms, by).await;
    facts::published(&ledger, by).await;
    let account = Account { ledger, behind };
    account.say(&rooms, records);
    account
}

/// The longest from an acknowledgement to a reader.
fn longest(ledger: &Ledger, seen: &[Seen]) -> Duration {
    let new = seen.iter().filter(|seen| seen.told.name == "new_message");
    let waited =
        new.filter_map(|seen| Some(seen.at.saturating_duration_since(ledger.messages.get(&seen.told.message)?.at)));
    waited.max().unwrap_or_default()
}

async fn stored(room: &Room) -> Stored {
    let me = &room.people[0].client;
    let path = format!("/api/messages/{}?limit=100", room.id);
    let mut page = me.get(&path).await.expect(200);
    let head = page["position"].as_i64().unwrap();
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
    let log = Reader::start(room.id, &room.people[0], &url).up_to(head).await;
    Stored { room: room.id, listed, log: log.into_iter().map(|seen| seen.told).collect() }
}

/// Everyone tries until they are answered, so what is stored is what was acknowledged, no more and no less.
fn acknowledged_is_stored(ledger: &Ledger, stored: &Stored) {
    let own = || ledger.messages.iter().filter(|(_, sent)| sent.room == stored.room);
    let listed: BTreeMap<String, String> =
        own().filter(|(_, sent)| !sent.deleted).map(|(id, sent)| (id.clone(), sent.content.clone())).collect();
    assert_eq!(listed, stored.listed, "room {}: acknowledged, and listed", stored.room);
    let positions: Vec<i64> = stored.log.iter().map(|told| told.position).collect();
    assert!(positions.iter().copied().eq(1..=positions.len() as i64), "room {}: {positions:?}", stored.room);
    let told = |name: &str| -> Vec<&String> {
        stored.log.iter().filter(|told| told.name == name).map(|told| &told.message).collect()
    };
    let deleted: Vec<&String> = own().filter(|(_, sent)| sent.deleted).map(|(id, _)| id).collect();
    assert_eq!(sorted(told("new_message")), own().map(|(id, _)| id).collect::<Vec<_>>(), "each is born once");
    assert_eq!(sorted(told("message_deleted")), deleted, "each is deleted once");
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// Waits until every position of every room is on the topic, and holds what is there to the logs. How many records.
async fn published(rooms: &BTreeMap<i64, Stored>, by: Instant) -> usize {
    loop {
        let records = Events::of("message.events").all().await;
        let of_ours =
            records.iter().filter(|record| rooms.contains_key(&record["room_id"].as_i64().unwrap_or_default()));
        let told: Vec<(i64, &Value)> =
            of_ours.filter_map(|record| Some((record["position"].as_i64()?, record))).collect();
        let missing: usize = rooms.values().map(|stored| missing(stored, &told)).sum();
        if missing == 0 {
            rooms.values().for_each(|stored| as_stored(stored, &told));
            return told.len();
        }
        assert!(Instant::now() < by, "{missing} events are not on message.events in time");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn of_room<'a>(stored: &Stored, told: &'a [(i64, &'a Value)]) -> impl Iterator<Item = (i64, &'a Value)> {
    let room = stored.room;
    told.iter().copied().filter(move |(_, record)| record["room_id"] == room)
}

fn missing(stored: &Stored, told: &[(i64, &Value)]) -> usize {
    let there: BTreeSet<i64> = of_room(stored, told).map(|(position, _)| position).collect();
    stored.log.iter().filter(|told| !there.contains(&told.position)).count()
}

/// Each position has one event, however often it came, and it tells what the log has there.
fn as_stored(stored: &Stored, told: &[(i64, &Value)]) {
    let mut ids = BTreeMap::new();
    for (position, record) in of_room(stored, told) {
        let id = record["event_id"].as_str().unwrap();
        assert_eq!(*ids.entry(position).or_insert(id), id, "one event for position {position}");
        let entry = usize::try_from(position - 1).ok().and_then(|at| stored.log.get(at));
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

impl Account {
    fn say(&self, rooms: &BTreeMap<i64, Stored>, records: usize) {
        let positions: usize = rooms.values().map(|stored| stored.log.len()).sum();
        let Ledger { messages, friendships, profiles, newcomers, .. } = &self.ledger;
        println!(
            "  account: {} messages in {positions} positions, {} repeats on the topic; {} steps of friendships, {} \
             profiles, {} newcomers; readers at most {:.1} s behind; tries answered with {:?}",
            messages.len(),
            records - positions,
            friendships.values().sum::<usize>(),
            profiles.values().sum::<usize>(),
            newcomers.len(),
            self.behind.as_secs_f32(),
            self.ledger.statuses(),
        );
    }
}
