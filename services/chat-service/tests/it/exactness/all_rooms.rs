//! Readers of all their rooms, groups to which they are added and from which they are removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::{LONGEST_VISIT, Replicas, SEED, World, full, kill_store};

const STREAM: &str = "/messages/stream";
const GROUPS: i64 = 3;
const PEOPLE: std::ops::Range<i64> = 500..504;

/// What a reader heard of each room: the event, and the message.
type Heard = BTreeMap<i64, Vec<(String, String)>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_all_rooms_have_what_happened_while_they_were_members_once_and_in_order() {
    let messages = if full() { 600 } else { 60 };
    let mut replicas = Replicas::start().await;
    let world = replicas.world.clone();
    let groups: Vec<(i64, i64)> = join_all((0..GROUPS).map(|n| open_group(&world, 1_000 + n))).await;

    let mut readers = Vec::new();
    for (n, person) in PEOPLE.chain(PEOPLE).enumerate() {
        let mut rng = StdRng::seed_from_u64(SEED + n as u64);
        let mut stream = world.listen(&mut rng, person, STREAM, None).await.unwrap();
        let place = stream.next().await.id;
        readers.push(tokio::spawn(read_all(world.clone(), person, place, rng)));
    }
    let writers: Vec<_> =
        groups.iter().map(|group| tokio::spawn(write_and_move(world.clone(), *group, messages))).collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    replicas.kill_one().await;
    kill_store().await;
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    world.written.store(true, Ordering::Release);

    let heard: Vec<(i64, Heard)> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    for (group, creator) in groups {
        let log = whole_log(&world, group, creator).await;
        for (person, heard) in &heard {
            let theirs = of_their_time(&log, *person);
            assert_eq!(heard.get(&group).cloned().unwrap_or_default(), theirs, "{person} in {group}");
        }
    }
}

async fn open_group(world: &World, creator: i64) -> (i64, i64) {
    let new = json!({"participant_ids": PEOPLE.collect::<Vec<_>>()});
    let group = world.client(0, creator).post("/chat-rooms", new).await.expect(201);
    (group["id"].as_i64().unwrap(), creator)
}

/// Sends and edits, and adds and removes people meanwhile. In the end all of them are members.
async fn write_and_move(world: Arc<World>, (group, creator): (i64, i64), messages: usize) {
    let mut rng = StdRng::seed_from_u64(SEED ^ group.unsigned_abs());
    let (path, members) = (format!("/messages/{group}"), format!("/chat-rooms/{group}/members"));
    for n in 0..messages {
        let body = json!({"content": n.to_string(), "client_message_id": n.to_string()});
        let (status, sent) = world.ask(&mut rng, creator, Method::POST, &path, &body).await;
        assert!(status == 201 || status == 200, "{status}: {sent}");
        if rng.random_ratio(1, 8) {
            let message = format!("/messages/{}", sent["id"].as_str().unwrap());
            world.ask(&mut rng, creator, Method::PUT, &message, &json!({"content": "edited"})).await;
        }
        if rng.random_ratio(1, 5) {
            let person = rng.random_range(PEOPLE);
            let (status, answer) = if rng.random() {
                let one = format!("{members}/{person}");
                world.ask(&mut rng, creator, Method::DELETE, &one, &json!({})).await
            } else {
                world.ask(&mut rng, creator, Method::POST, &members, &json!({"user_ids": [person]})).await
            };
            // Who is out already, by a try whose answer was lost perhaps, is no member to remove.
            assert!(status == 200 || status == 404, "{status}: {answer}");
        }
    }
    let everybody = json!({"user_ids": PEOPLE.collect::<Vec<_>>()});
    assert_eq!(world.ask(&mut rng, creator, Method::POST, &members, &everybody).await.0, 200);
    assert_eq!(world.ask(&mut rng, creator, Method::POST, &path, &json!({"content": "the end"})).await.0, 201);
}

async fn read_all(world: Arc<World>, person: i64, mut place: String, mut rng: StdRng) -> (i64, Heard) {
    let mut heard = Heard::new();
    loop {
        let finished = world.written.load(Ordering::Acquire);
        let before = place.clone();
        let Some(mut stream) = world.listen(&mut rng, person, STREAM, Some(&place)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        for _ in 0..rng.random_range(1..=LONGEST_VISIT) {
            let Some(event) = stream.next_within(Duration::from_secs(if finished { 9 } else { 1 })).await else {
                break;
            };
            assert_ne!(event.name, "resync");
            if let Some(message) = told(&event.name, &event.data) {
                let room = event.data["room_id"].as_i64().unwrap();
                heard.entry(room).or_default().push((event.name, message));
                place = event.id;
            }
        }
        if finished && place == before {
            return (person, heard);
        }
    }
}

/// The message of an event that is history.
fn told(name: &str, data: &Value) -> Option<String> {
    matches!(name, "new_message" | "message_edited").then(|| data["id"].as_str().unwrap().to_owned())
}

/// Everything that happened in a room, as its creator reads it: the event, the message, and what it says.
async fn whole_log(world: &World, group: i64, creator: i64) -> Vec<(String, String, String)> {
    let client = world.client(1, creator);
    let page = client.get(&format!("/messages/{group}?limit=1")).await.expect(200);
    let mut stream = client.stream(&format!("/messages/stream/{group}"), Some("0")).await;
    stream.next().await;
    let mut log = Vec::new();
    for position in 1..=page["position"].as_i64().unwrap() {
        let event = stream.next().await;
        assert_eq!(event.id, position.to_string());
        let message = told(&event.name, &event.data).unwrap();
        log.push((event.name, message, event.data["content"].as_str().unwrap_or_default().to_owned()));
    }
    log
}

/// The part of a log that belongs to someone who was a member at its beginning.
fn of_their_time(log: &[(String, String, String)], person: i64) -> Vec<(String, String)> {
    let mut member = true;
    let mut theirs = Vec::new();
    for (name, message, content) in log {
        let name_of_theirs = format!("person_{person}");
        let concerned = content.split([' ', ',']).skip(2).any(|word| word == name_of_theirs);
        if concerned && content.contains(" added ") {
            member = true;
        } else if concerned && content.contains(" removed ") {
            member = false;
        }
        if member {
            theirs.push((name.clone(), message.clone()));
        }
    }
    theirs
}
