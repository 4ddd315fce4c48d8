//! Readers of all their rooms, and groups whose creators add and remove them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::json;
use testkit::Event;

use super::faults::Faults;
use super::original::ORIGINAL_ONE_IN;
use super::{LONGEST_VISIT, Next, Replicas, World, full, next, seed};
use crate::person::{message_path, read_log};

const STREAM: &str = "/messages/stream";
const GROUPS: i64 = 3;
const PEOPLE: std::ops::Range<i64> = 500..504;

const SMALL: Faults = Faults { kills: 1, mongodb_kills: 1, step_downs: 1, clock_steps: 2 };
const FULL: Faults = Faults { kills: 4, mongodb_kills: 3, step_downs: 8, clock_steps: 8 };

/// The events of each room, as pairs of the event's name and the message's id.
type Received = BTreeMap<i64, Vec<(String, String)>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_all_rooms_receive_the_events_of_their_memberships_once_and_in_order() {
    let (messages, faults) = if full() { (600, FULL) } else { (60, SMALL) };
    let mut replicas = Replicas::start().await;
    let world = replicas.world.clone();
    let groups: Vec<(i64, i64)> = join_all((0..GROUPS).map(|n| open_group(&world, 1_000 + n))).await;

    let mut readers = Vec::new();
    for (n, person) in PEOPLE.chain(PEOPLE).enumerate() {
        let mut rng = StdRng::seed_from_u64(seed() + n as u64);
        let cursor = world.subscribe(&mut rng, person, STREAM, None).await.next().await.id;
        readers.push(tokio::spawn(read(world.clone(), person, cursor, rng)));
    }
    let writers: Vec<_> = groups.iter().map(|group| tokio::spawn(write(world.clone(), *group, messages))).collect();
    let all = groups.len() * messages;
    let happened = replicas.disturb(faults, all).await;
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    world.written.store(true, Ordering::Release);

    let received: Vec<(i64, Received)> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    for (group, creator) in groups {
        let log = read_log(&world.client(1, creator), group).await;
        for (person, received) in &received {
            let expected = events_of_member(&log, *person);
            assert_eq!(received.get(&group).cloned().unwrap_or_default(), expected, "{person} in {group}");
        }
    }
    replicas.report(&happened);
}

/// Opens a group of all readers, and returns its id and its creator.
async fn open_group(world: &World, creator: i64) -> (i64, i64) {
    let body = json!({"participant_ids": PEOPLE.collect::<Vec<_>>()});
    let group = world.client(0, creator).post("/chat-rooms", body).await.expect(201);
    (group["id"].as_i64().unwrap(), creator)
}

/// Sends and edits messages, and adds and removes members. At the end all readers are members.
async fn write(world: Arc<World>, (group, creator): (i64, i64), messages: usize) {
    let mut rng = StdRng::seed_from_u64(seed() ^ group.unsigned_abs());
    let members = format!("/chat-rooms/{group}/members");
    for n in 0..messages {
        let sent = world.send(&mut rng, creator, group, n).await;
        if rng.random_ratio(1, ORIGINAL_ONE_IN) {
            world.original_writes(&mut rng, "group", group, creator).await;
        }
        if rng.random_ratio(1, 8) {
            let edit = json!({"content": "edited"});
            world.request(&mut rng, creator, Method::PUT, &message_path(&sent), &edit).await;
        }
        if rng.random_ratio(1, 5) {
            let person = rng.random_range(PEOPLE);
            let (status, answer) = if rng.random() {
                let member = format!("{members}/{person}");
                world.request(&mut rng, creator, Method::DELETE, &member, &json!({})).await
            } else {
                world.request(&mut rng, creator, Method::POST, &members, &json!({"user_ids": [person]})).await
            };
            // A removal answers 404 if the user is no member, for example after a first attempt whose answer was lost.
            assert!(status == 200 || status == 404, "{status}: {answer}");
        }
    }
    let everyone = json!({"user_ids": PEOPLE.collect::<Vec<_>>()});
    assert_eq!(world.request(&mut rng, creator, Method::POST, &members, &everyone).await.0, 200);
    let (path, last) = (format!("/messages/{group}"), json!({"content": "the end"}));
    assert_eq!(world.request(&mut rng, creator, Method::POST, &path, &last).await.0, 201);
}

/// Reads all rooms at changing replicas until everything is read.
async fn read(world: Arc<World>, person: i64, mut cursor: String, mut rng: StdRng) -> (i64, Received) {
    let mut received = Received::new();
    loop {
        let written = world.written.load(Ordering::Acquire);
        let mut stream = world.subscribe(&mut rng, person, STREAM, Some(&cursor)).await;
        for _ in 0..rng.random_range(1..=LONGEST_VISIT) {
            match next(&mut stream, written).await {
                Next::Event(event) => {
                    if let Some(logged) = logged(&event) {
                        let room = event.data["room_id"].as_i64().unwrap();
                        received.entry(room).or_default().push(logged);
                        cursor = event.id;
                    }
                }
                Next::Quiet if written => return (person, received),
                Next::Quiet | Next::End => break,
            }
        }
    }
}

/// The name and the message of an event that is in the log of a room.
fn logged(event: &Event) -> Option<(String, String)> {
    matches!(event.name.as_str(), "new_message" | "message_edited")
        .then(|| (event.name.clone(), event.data["id"].as_str().unwrap().to_owned()))
}

/// The events of a log from the time in which the user was a member, as they were at the beginning of the log.
fn events_of_member(log: &[Event], person: i64) -> Vec<(String, String)> {
    let (mut member, name) = (true, format!("person_{person}"));
    let mut events = Vec::new();
    for event in log {
        let content = event.data["content"].as_str().unwrap_or_default();
        let concerned = content.split([' ', ',']).skip(2).any(|word| word == name);
        if concerned && content.contains(" added ") {
            member = true;
        } else if concerned && content.contains(" removed ") {
            member = false;
        }
        let logged = logged(event).unwrap();
        if member {
            events.push(logged);
        }
    }
    events
}
