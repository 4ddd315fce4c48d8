//! The account of what is in MySQL: every fact has its one event, of each key in the order of versions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Events;

use crate::ledger::Ledger;

/// What befalls two people, again and again.
const FRIENDSHIP: [&str; 3] = ["FriendRequestSent", "FriendRequestAccepted", "FriendRemoved"];

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until everything is on the topics and nothing else.
pub async fn published(ledger: &Ledger, by: Instant) {
    loop {
        let (users, friends) = (read("user.events").await, read("friend.events").await);
        let rooms = read("chat.events").await;
        let told = registrations(ledger, &users)
            .and_then(|()| profiles(ledger, &users))
            .and_then(|()| friendships(ledger, &friends))
            .and_then(|()| openings(ledger, &rooms));
        let Err(difference) = told else { break };
        assert!(Instant::now() < by, "{difference}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Each event once, in the order of the topic; of each key in the order of versions.
async fn read(topic: &str) -> Vec<Value> {
    let (mut known, mut newest) = (BTreeSet::new(), BTreeMap::new());
    let mut events = Events::of(topic).all().await;
    events.retain(|event| event["event_id"].as_str().is_some_and(|id| known.insert(id.to_owned())));
    for event in &events {
        let version = event["version"].as_u64().unwrap();
        let before = newest.insert(key(event), version);
        assert!(before < Some(version), "{topic}: after version {before:?} of its key came {event}");
    }
    events
}

/// What the key of an event is made of (contract, section 10).
fn key(event: &Value) -> Option<i64> {
    let of = |fields: [&str; 2]| Some(event[fields[0]].as_i64()?.min(event[fields[1]].as_i64()?));
    let of_two = [["requester_id", "addressee_id"], ["user_id", "friend_id"], ["user_id", "blocked_user_id"]];
    of_two.into_iter().find_map(of).or(event["room_id"].as_i64()).or(event["user_id"].as_i64())
}

fn of_type<'a>(events: &'a [Value], event_type: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event_type"] == event_type)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, told: T, done: T) -> Result<(), String> {
    if told == done { Ok(()) } else { Err(format!("{what}: told {told:?}, done {done:?}")) }
}

fn registrations(ledger: &Ledger, events: &[Value]) -> Result<(), String> {
    for person in &ledger.newcomers {
        let told = of_type(events, "UserRegistered").filter(|event| event["username"] == person.username.as_str());
        let told: Vec<_> = told.map(|event| event["user_id"].as_i64()).collect();
        equal(&person.username, told, vec![Some(person.id)])?;
    }
    Ok(())
}

/// A profile may be written twice, with the same name.
fn profiles(ledger: &Ledger, events: &[Value]) -> Result<(), String> {
    for (person, changes) in &ledger.profiles {
        let told = of_type(events, "UserProfileUpdated").filter(|event| event["user_id"] == *person);
        let mut told: Vec<usize> = told.map(|event| event["display_name"].as_str().unwrap().parse().unwrap()).collect();
        told.dedup();
        equal(&format!("profile of {person}"), told, (1..=*changes).collect())?;
    }
    Ok(())
}

fn friendships(ledger: &Ledger, events: &[Value]) -> Result<(), String> {
    for ((a, b), steps) in &ledger.friendships {
        let told = events.iter().filter(|event| key(event) == Some(*a.min(b)));
        let told: Vec<&str> = told.map(|event| event["event_type"].as_str().unwrap()).collect();
        let done: Vec<&str> = FRIENDSHIP.into_iter().cycle().take(*steps).collect();
        equal(&format!("{a} and {b}"), told, done)?;
    }
    Ok(())
}

/// By who is in it, so that the event of a room that was never committed is found too.
fn openings(ledger: &Ledger, events: &[Value]) -> Result<(), String> {
    for person in &ledger.newcomers {
        let is_in =
            |event: &&Value| event["participant_ids"].as_array().is_some_and(|ids| ids.contains(&person.id.into()));
        let told = of_type(events, "ChatRoomCreated").filter(is_in).map(|event| event["room_id"].as_i64());
        equal(&format!("rooms of {}", person.username), told.collect(), vec![Some(person.room)])?;
    }
    Ok(())
}
