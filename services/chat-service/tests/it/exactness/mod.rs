//! Exactly-once and ordered delivery with three replicas, while readers reconnect, writers change the same messages, an
//! original writes to the same rooms, replicas are killed, and the clock of one replica jumps by minutes.
//!
//! `EXACTNESS=small cargo stack test --mongo 3 --test it exactness -- --nocapture` also kills the primary of MongoDB and makes
//! it step down, so no other test may run beside it. `EXACTNESS=full` runs the full size. `EXACTNESS_SEED` chooses other
//! moments of the faults.

mod all_rooms;
mod clock;
mod faults;
mod original;
mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chat_service::SERVICE;
pub use clock::Clock;
use engines::kafka::producer::Producer;
use faults::Happened;
use futures_util::future::join_all;
use mongodb::Database;
use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, Event, SLACK, Space, Sse, eventually};
use tokio::sync::{Mutex, MutexGuard};

use crate::app::mongo_database;
use crate::fakes::{friend_service, user_service};
use crate::process::{Process, free_port};

const REPLICAS: usize = 3;

/// A reader receives at most so many events before it reconnects.
const LONGEST_VISIT: u32 = 25;

/// One test at a time, because each kills replicas and stores that the other needs.
static EXCLUSIVE: Mutex<()> = Mutex::const_new(());

/// The shared state of readers and writers.
struct World {
    space: Space,
    ports: Vec<u16>,
    /// The database, in which an original writes beside the replicas.
    mongo: Database,
    /// The original's producer of events.
    producer: Producer,
    /// The number of messages that the writers have sent.
    sent: AtomicUsize,
    /// The number of messages that the original has written.
    written_by_original: AtomicUsize,
    /// The number of streams that readers have opened.
    streams: AtomicUsize,
    /// The writers have ended.
    written: AtomicBool,
}

/// The processes under test.
struct Replicas {
    world: Arc<World>,
    mysql_url: String,
    settings: [(&'static str, String); 2],
    running: Vec<Process>,
    /// The clock of the last replica.
    clock: Clock,
    started: Instant,
    _exclusive: MutexGuard<'static, ()>,
}

impl Replicas {
    async fn start() -> Self {
        let _exclusive = EXCLUSIVE.lock().await;
        let space = Space::new();
        space.create_topics().await;
        let mysql_url = space.schema("chat").await;
        let settings =
            [("USER_SERVICE_URL", user_service(Arc::default()).await), ("FRIEND_SERVICE_URL", friend_service().await)];
        let (clock, mongo) = (Clock::new(&space.mongo_database()).await, mongo_database(&space).await);
        let config = space.platform(SERVICE, space.env(&mysql_url)).config.clone();
        let world = World {
            ports: (0..REPLICAS).map(|_| free_port()).collect(),
            mongo,
            producer: Producer::new(&config.kafka, &prometheus::Registry::new()).unwrap(),
            sent: AtomicUsize::new(0),
            written_by_original: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            written: AtomicBool::new(false),
            space,
        };
        let (world, started) = (Arc::new(world), Instant::now());
        let mut replicas = Self { world, mysql_url, settings, running: Vec::new(), clock, started, _exclusive };
        let starting = replicas.world.ports.iter().map(|port| {
            let settings = replicas.settings_of(*port);
            Process::start_on(*port, &replicas.world.space, &replicas.mysql_url, &settings).ready()
        });
        replicas.running = join_all(starting).await;
        replicas
    }

    fn settings_of(&self, port: u16) -> Vec<(&'static str, String)> {
        let mut settings = self.settings.to_vec();
        if self.world.ports.last() == Some(&port) {
            settings.extend(self.clock.settings());
        }
        settings
    }

    /// Prints what the test did.
    #[allow(clippy::print_stdout, reason = "the figures of a run")]
    fn report(&self, happened: &Happened) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let World { sent, written_by_original, streams, .. } = &*self.world;
        let (sent, original, streams, took) =
            (count(sent), count(written_by_original), count(streams), self.started.elapsed().as_secs());
        println!("  seed {}: {sent} messages, {original} more by an original, {happened};", seed());
        println!("  {streams} streams were read; {took} s");
    }
}

/// The seed of everything that is random.
fn seed() -> u64 {
    std::env::var("EXACTNESS_SEED").map_or(20_261_124, |seed| seed.parse().expect("EXACTNESS_SEED is a number"))
}

fn full() -> bool {
    std::env::var("EXACTNESS").is_ok_and(|size| size == "full")
}

impl World {
    fn client(&self, replica: usize, person: i64) -> Client {
        let token = self.space.token(person, &format!("person_{person}"));
        Client::new(&format!("http://127.0.0.1:{}", self.ports[replica]), &token)
    }

    /// Sends a request to random replicas until one answers.
    async fn request(&self, rng: &mut StdRng, person: i64, method: Method, path: &str, body: &Value) -> (u16, Value) {
        eventually(&format!("a replica answers {method} {path}"), || {
            let client = self.client(rng.random_range(0..REPLICAS), person);
            let request = client.request(method.clone(), path).json(body);
            async move {
                let response = request.send().await.ok()?;
                let status = response.status().as_u16();
                if status == 503 { None } else { Some((status, response.json().await.ok()?)) }
            }
        })
        .await
    }

    /// Sends the nth message of a room, and again until it is acknowledged.
    async fn send(&self, rng: &mut StdRng, person: i64, room: i64, n: usize) -> Value {
        let body = json!({"content": n.to_string(), "client_message_id": n.to_string()});
        let (status, sent) = self.request(rng, person, Method::POST, &format!("/messages/{room}"), &body).await;
        assert!(status == 201 || status == 200, "{status}: {sent}");
        self.sent.fetch_add(1, Ordering::Relaxed);
        sent
    }

    /// Waits until the writers have sent so many messages.
    async fn until_sent(&self, messages: usize) {
        // Without a limit: each request of a writer has its own.
        while self.sent.load(Ordering::Relaxed) < messages {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Opens a stream at a random replica that is reachable.
    async fn subscribe(&self, rng: &mut StdRng, person: i64, path: &str, last_event_id: Option<&str>) -> Sse {
        self.streams.fetch_add(1, Ordering::Relaxed);
        eventually(&format!("a replica streams {path}"), || {
            let client = self.client(rng.random_range(0..REPLICAS), person);
            let mut request = client.request(Method::GET, path);
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
            async move {
                let response = request.send().await.ok()?;
                response.status().is_success().then(|| Sse::new(response))
            }
        })
        .await
    }
}

/// The next thing on a stream.
enum Next {
    Event(Event),
    /// The stream is open, and no event came for longer than the stream may be behind.
    Quiet,
    /// The stream ended.
    End,
}

async fn next(stream: &mut Sse, written: bool) -> Next {
    let patience = if written { SLACK * Duration::from_secs(3) } else { Duration::from_secs(1) };
    match tokio::time::timeout(patience, stream.try_next()).await {
        Ok(Some(event)) => {
            assert_ne!(event.name, "resync");
            Next::Event(event)
        }
        Ok(None) => Next::End,
        Err(_) => Next::Quiet,
    }
}
