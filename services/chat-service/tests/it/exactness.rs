//! Exactly once and in order: three replicas, readers that come and go, changes of one message at once, and a replica
//! that is killed twice. The same for readers of all their rooms, who are added and removed meanwhile.
//!
//! `EXACTNESS=small cargo stack test --test it exactness` kills MongoDB as well, which no other test would survive;
//! `EXACTNESS=full` is the full size.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, Space, Sse};
use tokio::sync::{Mutex, MutexGuard};

use crate::app::{friend_service, user_service};
use crate::process::Process;

const SEED: u64 = 20_261_124;
const REPLICAS: usize = 3;

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

/// One test at a time: each kills what the other needs.
static TURN: Mutex<()> = Mutex::const_new(());

/// A reader hears so many events at most before it goes and comes back elsewhere.
const LONGEST_VISIT: u32 = 25;

/// A client asks another replica when one does not answer; this often, and the test has failed.
const TRIES: usize = 400;

struct World {
    space: Space,
    ports: Vec<u16>,
    /// Nobody writes any more.
    written: AtomicBool,
}

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

/// The processes under test, and what they are told of where the others are.
struct Replicas {
    world: Arc<World>,
    mysql_url: String,
    others: [(&'static str, String); 2],
    running: Vec<Process>,
    _turn: MutexGuard<'static, ()>,
}

impl Replicas {
    async fn start() -> Self {
        let _turn = TURN.lock().await;
        let space = Space::new();
        space.create_topics().await;
        let mysql_url = space.schema("chat").await;
        let there = Arc::new(AtomicBool::new(true));
        let others = [("USER_SERVICE_URL", user_service(there).await), ("FRIEND_SERVICE_URL", friend_service().await)];
        let running = join_all((0..REPLICAS).map(|_| Process::start(&space, &mysql_url, &others).ready())).await;
        let ports = running.iter().map(|replica| replica.port).collect();
        let world = Arc::new(World { space, ports, written: AtomicBool::new(false) });
        Self { world, mysql_url, others, running, _turn }
    }

    /// SIGKILL for the one that has lived the longest, which comes back in its place.
    async fn kill_one(&mut self) {
        let killed = self.running.remove(0);
        let port = killed.port;
        killed.kill().await;
        let back = Process::start_on(port, &self.world.space, &self.mysql_url, &self.others);
        self.running.push(back.ready().await);
    }
}

fn full() -> bool {
    std::env::var("EXACTNESS").is_ok_and(|size| size == "full")
}

/// SIGKILL for the store of the messages, which comes back; only where no other test needs it.
async fn kill_store() {
    if std::env::var_os("EXACTNESS").is_some() {
        testkit::order("kill", "mongodb").await;
    }
}

impl World {
    fn client(&self, replica: usize, person: i64) -> Client {
        let token = self.space.token(person, &format!("person_{person}"));
        Client::new(&format!("http://127.0.0.1:{}", self.ports[replica]), &token)
    }

    /// Asks one replica after another until one answers.
    async fn ask(&self, rng: &mut StdRng, person: i64, method: Method, path: &str, body: &Value) -> (u16, Value) {
        for _ in 0..TRIES {
            let client = self.client(rng.random_range(0..REPLICAS), person);
            let answer = client.request(method.clone(), path).json(body).send().await;
            if let Ok(answer) = answer
                && answer.status() != 503
            {
                let status = answer.status().as_u16();
                if let Ok(body) = answer.json().await {
                    return (status, body);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no replica answers {method} {path}");
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
    let mut position = 0;
    loop {
        let finished = world.written.load(Ordering::Acquire);
        let before = position;
        if let Some(mut stream) = visit(&world, &mut rng, room, person, position).await {
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

async fn visit(world: &World, rng: &mut StdRng, room: i64, person: i64, position: i64) -> Option<Sse> {
    let client = world.client(rng.random_range(0..REPLICAS), person);
    let request = client.request(Method::GET, &format!("/messages/stream/{room}"));
    let response = request.header("last-event-id", position.to_string()).send().await.ok()?;
    response.status().is_success().then(|| Sse::new(response))
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
        let mut stream = visit_all(&world, &mut rng, person, None).await.unwrap();
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
        let Some(mut stream) = visit_all(&world, &mut rng, person, Some(&place)).await else {
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

async fn visit_all(world: &World, rng: &mut StdRng, person: i64, place: Option<&str>) -> Option<Sse> {
    let client = world.client(rng.random_range(0..REPLICAS), person);
    let mut request = client.request(Method::GET, "/messages/stream");
    if let Some(place) = place {
        request = request.header("last-event-id", place);
    }
    let response = request.send().await.ok()?;
    response.status().is_success().then(|| Sse::new(response))
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
