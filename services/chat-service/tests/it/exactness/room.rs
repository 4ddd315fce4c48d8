//! Readers of one room each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::Event;

use super::faults::Faults;
use super::original::ORIGINAL_ONE_IN;
use super::{LONGEST_VISIT, Next, Replicas, World, full, next, seed};
use crate::person::{all_messages, read_log};

struct Size {
    rooms: usize,
    readers_per_room: usize,
    messages_per_room: usize,
    /// Of so many messages, one leads to two concurrent edits or deletions.
    one_change_in: u32,
    faults: Faults,
}

static SMALL: Size = Size {
    rooms: 8,
    readers_per_room: 3,
    messages_per_room: 60,
    one_change_in: 8,
    faults: Faults { kills: 2, mongodb_kills: 1, step_downs: 1, clock_steps: 2 },
};
static FULL: Size = Size {
    rooms: 50,
    readers_per_room: 4,
    messages_per_room: 400,
    one_change_in: 10,
    faults: Faults { kills: 8, mongodb_kills: 5, step_downs: 15, clock_steps: 15 },
};

/// A room, with the messages that were acknowledged and those that were deleted.
struct Room {
    id: i64,
    people: [i64; 2],
    sent: Vec<Value>,
    deleted: Vec<String>,
    /// The messages of the original.
    original: Vec<String>,
}

/// The events of a room that a reader received, as pairs of the event's name and the message's id. The first has position 1.
struct Received {
    room: i64,
    events: Vec<(String, String)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_receives_every_position_once_and_in_order() {
    let size: &'static Size = if full() { &FULL } else { &SMALL };
    let mut replicas = Replicas::start().await;
    let world = replicas.world.clone();
    let rooms = join_all((0..size.rooms).map(|n| open_room(&world, n))).await;

    let readers: Vec<_> = rooms
        .iter()
        .flat_map(|room| (0..size.readers_per_room).map(move |n| (room.id, room.people[n % 2])))
        .enumerate()
        .map(|(n, (room, person))| tokio::spawn(read(world.clone(), room, person, seed() + n as u64)))
        .collect();
    let writers: Vec<_> = rooms.into_iter().map(|room| tokio::spawn(write(world.clone(), room, size))).collect();
    let happened = replicas.disturb(size.faults, size.rooms * size.messages_per_room).await;

    let rooms: Vec<Room> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    world.written.store(true, Ordering::Release);
    let received: Vec<Received> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    for room in &rooms {
        let (messages, last_page) = all_messages(&world.client(0, room.people[0]), room.id).await;
        let log = read_log(&world.client(0, room.people[0]), room.id).await;
        let log: Vec<(String, String)> = log.iter().map(logged).collect();
        assert_eq!(last_page["position"], log.len());
        for received in received.iter().filter(|received| received.room == room.id) {
            assert_eq!(received.events.len(), log.len(), "the last position that a reader received");
            for (position, (received, logged)) in (1..).zip(received.events.iter().zip(&log)) {
                assert_eq!(received.1, logged.1, "the message at position {position} of room {}", room.id);
            }
        }
        let listed: BTreeMap<&str, &Value> =
            messages.iter().map(|message| (message["id"].as_str().unwrap(), message)).collect();
        for sent in &room.sent {
            let id = sent["id"].as_str().unwrap();
            let deleted = room.deleted.iter().any(|deleted| deleted == id);
            let listed = listed.get(id);
            assert_eq!(listed.is_none(), deleted, "the listing has acknowledged messages that are not deleted: {sent}");
            assert!(listed.is_none_or(|listed| listed["seq"] == sent["seq"]));
        }
        for id in &room.original {
            assert!(listed.contains_key(id.as_str()), "the listing has the message {id} of the original");
            let told = log.iter().filter(|(_, message)| message == id).count();
            assert_eq!(told, 1, "the log has the message {id} of the original once");
        }
    }
    replicas.report(&happened);
}

/// The name of a logged event, and the id of its message.
fn logged(event: &Event) -> (String, String) {
    let id = ["id", "message_id"].iter().find_map(|field| event.data[field].as_str());
    (event.name.clone(), id.unwrap().to_owned())
}

async fn open_room(world: &World, n: usize) -> Room {
    let people = [10 + 2 * n as i64, 11 + 2 * n as i64];
    let room = world.client(0, people[0]).get(&format!("/chat-rooms/check/{}", people[1])).await.expect(200);
    Room { id: room["id"].as_i64().unwrap(), people, sent: Vec::new(), deleted: Vec::new(), original: Vec::new() }
}

async fn write(world: Arc<World>, mut room: Room, size: &'static Size) -> Room {
    let mut rng = StdRng::seed_from_u64(seed() ^ room.id.unsigned_abs());
    for n in 0..size.messages_per_room {
        let person = room.people[rng.random_range(0..2)];
        let sent = world.send(&mut rng, person, room.id, n).await;
        room.sent.push(sent);
        if rng.random_ratio(1, ORIGINAL_ONE_IN) {
            room.original.push(world.original_writes(&mut rng, "private", room.id, person).await);
        }
        if rng.random_ratio(1, size.one_change_in) {
            change(&world, &mut room, &mut rng).await;
        }
    }
    room
}

/// Sends two concurrent changes of one message: two edits, or an edit and a deletion.
async fn change(world: &World, room: &mut Room, rng: &mut StdRng) {
    let message = room.sent[rng.random_range(0..room.sent.len())].clone();
    let (id, author) = (message["id"].as_str().unwrap().to_owned(), message["user_id"].as_i64().unwrap());
    let path = format!("/messages/{id}");
    let method = if rng.random() { Method::DELETE } else { Method::PUT };
    let (mut one, mut other) = (StdRng::seed_from_u64(rng.random()), StdRng::seed_from_u64(rng.random()));
    let (body, other_body) = (json!({"content": "one"}), json!({"content": "another"}));
    let (first, second) = tokio::join!(
        world.request(&mut one, author, Method::PUT, &path, &body),
        world.request(&mut other, author, method.clone(), &path, &other_body),
    );
    for (status, answer) in [&first, &second] {
        let refused = *status == 400 && answer["error"] == "MESSAGE_ALREADY_DELETED";
        assert!(*status == 200 || refused, "{status}: {answer}");
    }
    if method == Method::DELETE && !room.deleted.contains(&id) {
        room.deleted.push(id);
    }
}

/// Reads a room at changing replicas until everything is read. The positions have to come without gaps and repetitions.
async fn read(world: Arc<World>, room: i64, person: i64, seed: u64) -> Received {
    let mut rng = StdRng::seed_from_u64(seed);
    let (path, mut position) = (format!("/messages/stream/{room}"), 0);
    let mut events = Vec::new();
    loop {
        let written = world.written.load(Ordering::Acquire);
        let mut stream = world.subscribe(&mut rng, person, &path, Some(&position.to_string())).await;
        for _ in 0..rng.random_range(1..=LONGEST_VISIT) {
            match next(&mut stream, written).await {
                Next::Event(event) => {
                    if matches!(event.name.as_str(), "new_message" | "message_edited" | "message_deleted") {
                        assert_eq!(event.position(), position + 1, "room {room}");
                        position += 1;
                        events.push(logged(&event));
                    }
                }
                Next::Quiet if written => return Received { room, events },
                Next::Quiet | Next::End => break,
            }
        }
    }
}
