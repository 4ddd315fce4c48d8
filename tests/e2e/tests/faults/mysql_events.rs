//! The verification of changes in MySQL: every change has exactly one event, and the events of each key are in the order
//! of their versions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Events;

use crate::history::History;

/// The events of two users, who repeat these changes.
const FRIENDSHIP_EVENTS: [&str; 3] = ["FriendRequestSent", "FriendRequestAccepted", "FriendRemoved"];

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Waits until the topics have exactly the events of the acknowledged changes.
pub async fn verify(history: &History, deadline: Instant) {
    loop {
        let (users, friends) = (read("user.events").await, read("friend.events").await);
        let rooms = read("chat.events").await;
        let result = compare_registrations(history, &users)
            .and_then(|()| compare_profiles(history, &users))
            .and_then(|()| compare_friendships(history, &friends))
            .and_then(|()| compare_rooms(history, &rooms));
        let Err(difference) = result else { break };
        assert!(Instant::now() < deadline, "{difference}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The events of a topic without repeated records. Panics if the versions of a key do not grow.
async fn read(topic: &str) -> Vec<Value> {
    let (mut ids, mut newest) = (BTreeSet::new(), BTreeMap::new());
    let mut events = Events::of(topic).all().await;
    events.retain(|event| event["event_id"].as_str().is_some_and(|id| ids.insert(id.to_owned())));
    for event in &events {
        let version = event["version"].as_u64().unwrap();
        let before = newest.insert(key(event), version);
        assert!(before < Some(version), "{topic}: version {before:?} of the same key precedes {event}");
    }
    events
}

/// The number in an event's key (docs/events.md).
fn key(event: &Value) -> Option<i64> {
    let of = |fields: [&str; 2]| Some(event[fields[0]].as_i64()?.min(event[fields[1]].as_i64()?));
    let of_two = [["requester_id", "addressee_id"], ["user_id", "friend_id"], ["user_id", "blocked_user_id"]];
    of_two.into_iter().find_map(of).or(event["room_id"].as_i64()).or(event["user_id"].as_i64())
}

fn of_type<'a>(events: &'a [Value], event_type: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event_type"] == event_type)
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, published: T, acknowledged: T) -> Result<(), String> {
    if published == acknowledged {
        Ok(())
    } else {
        Err(format!("{what}: published {published:?}, acknowledged {acknowledged:?}"))
    }
}

fn compare_registrations(history: &History, events: &[Value]) -> Result<(), String> {
    for newcomer in &history.newcomers {
        let own = of_type(events, "UserRegistered").filter(|event| event["username"] == newcomer.username.as_str());
        let published: Vec<_> = own.map(|event| event["user_id"].as_i64()).collect();
        compare(&newcomer.username, published, vec![Some(newcomer.id)])?;
    }
    Ok(())
}

/// A change whose request was repeated may write a profile twice, with the same display name.
fn compare_profiles(history: &History, events: &[Value]) -> Result<(), String> {
    for (user, changes) in &history.profiles {
        let own = of_type(events, "UserProfileUpdated").filter(|event| event["user_id"] == *user);
        let names = own.map(|event| event["display_name"].as_str().unwrap().parse().unwrap());
        let mut published: Vec<usize> = names.collect();
        published.dedup_by(|again, n| again == n && history.repeated_profiles.contains(&(*user, *n)));
        compare(&format!("profile of {user}"), published, (1..=*changes).collect())?;
    }
    Ok(())
}

fn compare_friendships(history: &History, events: &[Value]) -> Result<(), String> {
    for ((a, b), changes) in &history.friendships {
        let own = events.iter().filter(|event| key(event) == Some(*a.min(b)));
        let published: Vec<&str> = own.map(|event| event["event_type"].as_str().unwrap()).collect();
        let acknowledged: Vec<&str> = FRIENDSHIP_EVENTS.into_iter().cycle().take(*changes).collect();
        compare(&format!("{a} and {b}"), published, acknowledged)?;
    }
    Ok(())
}

/// Finds the events by participant, so that it also finds the event of a room that was not committed.
fn compare_rooms(history: &History, events: &[Value]) -> Result<(), String> {
    for newcomer in &history.newcomers {
        let takes_part =
            |event: &&Value| event["participant_ids"].as_array().is_some_and(|ids| ids.contains(&newcomer.id.into()));
        let own = of_type(events, "ChatRoomCreated").filter(takes_part);
        let published: Vec<_> = own.map(|event| event["room_id"].as_i64()).collect();
        compare(&format!("rooms of {}", newcomer.username), published, vec![Some(newcomer.room)])?;
    }
    Ok(())
}
