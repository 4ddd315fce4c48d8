//! Exactly once and in order: three replicas, readers that come and go, changes of one message at once, and a replica
//! that is killed twice. The same for readers of all their rooms, who are added and removed meanwhile.
//!
//! `EXACTNESS=small cargo stack test --test it exactness` kills MongoDB as well, which no other test would survive;
//! `EXACTNESS=full` is the full size.

mod all_rooms;
mod room;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::Value;
use testkit::{Client, Space, Sse};
use tokio::sync::{Mutex, MutexGuard};

use crate::app::{friend_service, user_service};
use crate::process::Process;

const SEED: u64 = 20_261_124;
const REPLICAS: usize = 3;

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
        testkit::control("kill", "mongodb").await;
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

    /// Listens on whichever replica, after what was heard already; none where it does not answer.
    async fn listen(&self, rng: &mut StdRng, person: i64, path: &str, since: Option<&str>) -> Option<Sse> {
        let client = self.client(rng.random_range(0..REPLICAS), person);
        let mut request = client.request(Method::GET, path);
        if let Some(since) = since {
            request = request.header("last-event-id", since);
        }
        let response = request.send().await.ok()?;
        response.status().is_success().then(|| Sse::new(response))
    }
}
