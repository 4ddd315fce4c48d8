//! Exactly-once and ordered delivery with three replicas, while readers reconnect, writers change the same messages,
//! and replicas are killed.
//!
//! `EXACTNESS=small cargo stack test --test it exactness` also kills MongoDB, so no other test may run beside it.
//! `EXACTNESS=full` runs the full size.

mod all_rooms;
mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, Event, SLACK, Space, Sse, eventually};
use tokio::sync::{Mutex, MutexGuard};

use crate::fakes::{friend_service, user_service};
use crate::process::Process;

const SEED: u64 = 20_261_124;
const REPLICAS: usize = 3;

/// A reader receives at most so many events before it reconnects.
const LONGEST_VISIT: u32 = 25;

/// One test at a time, because each kills replicas and stores that the other needs.
static EXCLUSIVE: Mutex<()> = Mutex::const_new(());

/// The shared state of readers and writers.
struct World {
    space: Space,
    ports: Vec<u16>,
    /// The number of messages that the writers have sent.
    sent: AtomicUsize,
    /// The writers have ended.
    written: AtomicBool,
}

/// The processes under test.
struct Replicas {
    world: Arc<World>,
    mysql_url: String,
    settings: [(&'static str, String); 2],
    running: Vec<Process>,
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
        let running = join_all((0..REPLICAS).map(|_| Process::start(&space, &mysql_url, &settings).ready())).await;
        let ports = running.iter().map(|replica| replica.port).collect();
        let world = Arc::new(World { space, ports, sent: AtomicUsize::new(0), written: AtomicBool::new(false) });
        Self { world, mysql_url, settings, running, _exclusive }
    }

    /// Kills the replica that has run the longest and starts it again on its port.
    async fn kill_one(&mut self) {
        let killed = self.running.remove(0);
        let port = killed.port;
        killed.kill().await;
        let restarted = Process::start_on(port, &self.world.space, &self.mysql_url, &self.settings);
        self.running.push(restarted.ready().await);
    }
}

fn full() -> bool {
    std::env::var("EXACTNESS").is_ok_and(|size| size == "full")
}

/// Kills and restarts MongoDB if no other test needs it.
async fn kill_mongodb() {
    if std::env::var_os("EXACTNESS").is_some() {
        testkit::control("kill", "mongodb").await;
    }
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
        eventually(&format!("{messages} messages are sent"), || async {
            (self.sent.load(Ordering::Relaxed) >= messages).then_some(())
        })
        .await;
    }

    /// Opens a stream at a random replica that is reachable.
    async fn subscribe(&self, rng: &mut StdRng, person: i64, path: &str, last_event_id: Option<&str>) -> Sse {
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
