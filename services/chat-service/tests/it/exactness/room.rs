//! Readers of one room each.

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

struct Size {
    rooms: usize,
    readers_per_room: usize,
    messages_per_room: usize,
    /// One message in so many is edited or deleted, by two at once.
    one_change_in: u32,
    /// Between two kills.
    pause: Duration,
}

static SMALL: Size =
    Size { rooms: 8, readers_per_room: 3, messages_per_room: 60, one_change_in: 8, pause: Duration::from_millis(700) };
static FULL: Size =
    Size { rooms: 50, readers_per_room: 4, messages_per_room: 400, one_change_in: 10, pause: Duration::from_secs(5) };

/// A room, and what was acknowledged in it.
struct Room {
    id: i64,
    people: [i64; 2],
    sent: Vec<Value>,
    deleted: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_has_every_position_once_and_in_order() {
    let size: &'static Size = if full() { &FULL } else { &SMALL };
    let mut replicas = Replicas::start().await;
    let world = replicas.world.clone();
    let rooms = join_all((0..size.rooms).map(|n| open(&world, n))).await;

    let readers: Vec<_> = rooms
        .iter()
        .flat_map(|room| (0..size.readers_per_room).map(move |n| (room.id, room.people[n % 2])))
        .enumerate()
        .map(|(n, (room, person))| tokio::spawn(read(world.clone(), room, person, SEED + n as u64)))
        .collect();
    let writers: Vec<_> = rooms.into_iter().map(|room| tokio::spawn(write(world.clone(), room, size))).collect();
    for _ in 0..2 {
        tokio::time::sleep(size.pause).await;
        replicas.kill_one().await;
    }
    tokio::time::sleep(size.pause).await;
    kill_store().await;

    let rooms: Vec<Room> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    world.written.store(true, Ordering::Release);
    let seen: Vec<(i64, i64)> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    for room in &rooms {
        let (listed, position) = listing(&world, room).await;
        for (id, heard) in &seen {
            assert!(*id != room.id || *heard == position, "a reader stands at {heard} of {position}");
        }
        for sent in &room.sent {
            let id = sent["id"].as_str().unwrap();
            let deleted = room.deleted.iter().any(|deleted| deleted == id);
            let listed = listed.get(id);
            assert_eq!(listed.is_none(), deleted, "an acknowledged message is there, and no deleted one: {sent}");
            assert!(listed.is_none_or(|listed| listed["seq"] == sent["seq"]));
        }
    }
}

async fn open(world: &World, n: usize) -> Room {
    let people = [10 + 2 * n as i64, 11 + 2 * n as i64];
    let room = world.client(0, people[0]).get(&format!("/chat-rooms/check/{}", people[1])).await.expect(200);
    Room { id: room["id"].as_i64().unwrap(), people, sent: Vec::new(), deleted: Vec::new() }
}

async fn write(world: Arc<World>, mut room: Room, size: &'static Size) -> Room {
    let mut rng = StdRng::seed_from_u64(SEED ^ room.id.unsigned_abs());
    for n in 0..size.messages_per_room {
        let person = room.people[rng.random_range(0..2)];
        let body = json!({"content": n.to_string(), "client_message_id": format!("{n}")});
        let path = format!("/messages/{}", room.id);
        let (status, sent) = world.ask(&mut rng, person, Method::POST, &path, &body).await;
        assert!(status == 201 || status == 200, "{status}: {sent}");
        room.sent.push(sent);
        if rng.random_ratio(1, size.one_change_in) {
            change(&world, &mut room, &mut rng).await;
        }
    }
    room
}

/// Two change one message at once: both edit it, or one edits and the other deletes it.
async fn change(world: &World, room: &mut Room, rng: &mut StdRng) {
    let message = room.sent[rng.random_range(0..room.sent.len())].clone();
    let (id, author) = (message["id"].as_str().unwrap().to_owned(), message["user_id"].as_i64().unwrap());
    let path = format!("/messages/{id}");
    let method = if rng.random() { Method::DELETE } else { Method::PUT };
    let (mut one, mut other) = (StdRng::seed_from_u64(rng.random()), StdRng::seed_from_u64(rng.random()));
    let (body, another) = (json!({"content": "one"}), json!({"content": "another"}));
    let (first, second) = tokio::join!(
        world.ask(&mut one, author, Method::PUT, &path, &body),
        world.ask(&mut other, author, method.clone(), &path, &another),
    );
    for (status, answer) in [&first, &second] {
        let refused = *status == 400 && answer["error"] == "MESSAGE_ALREADY_DELETED";
        assert!(*status == 200 || refused, "{status}: {answer}");
    }
    if method == Method::DELETE && !room.deleted.contains(&id) {
        room.deleted.push(id);
    }
}

/// Reads a room, now here and now there, until everything is read. Each position has to be the next one.
async fn read(world: Arc<World>, room: i64, person: i64, seed: u64) -> (i64, i64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (path, mut position) = (format!("/messages/stream/{room}"), 0);
    loop {
        let finished = world.written.load(Ordering::Acquire);
        let before = position;
        if let Some(mut stream) = world.listen(&mut rng, person, &path, Some(&position.to_string())).await {
            for _ in 0..rng.random_range(1..=LONGEST_VISIT) {
                // Far beyond the three seconds that a stream may be behind.
                let Some(event) = stream.next_within(Duration::from_secs(if finished { 9 } else { 1 })).await else {
                    break;
                };
                assert_ne!(event.name, "resync");
                if matches!(event.name.as_str(), "new_message" | "message_edited" | "message_deleted") {
                    let at: i64 = event.id.parse().unwrap();
                    assert_eq!(at, position + 1, "room {room}");
                    position = at;
                }
            }
            if finished && position == before {
                return (room, position);
            }
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn listing(world: &World, room: &Room) -> (BTreeMap<String, Value>, i64) {
    let client = world.client(0, room.people[0]);
    let mut listed = BTreeMap::new();
    loop {
        let page = client.get(&format!("/messages/{}?limit=100&skip={}", room.id, listed.len())).await.expect(200);
        for message in page["messages"].as_array().unwrap() {
            listed.insert(message["id"].as_str().unwrap().to_owned(), message.clone());
        }
        if page["has_more"] == false {
            return (listed, page["position"].as_i64().unwrap());
        }
    }
}
