//! A faulty network: a proxy on loopback that cuts connections at random, from a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A link to a server. While it is faulty, one piece of traffic in `one_in` cuts its connection instead of passing:
/// before the server receives a request, or after the server has executed it and before the client receives the answer.
pub struct FaultyLink {
    /// The address to connect to.
    pub address: SocketAddr,
    faulty: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
    held: Held,
}

/// The text that holds connections to the server.
#[derive(Clone, Default)]
struct Held {
    /// None if it is empty.
    text: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicU64>,
}

impl FaultyLink {
    /// A link to `engine` that is not faulty yet.
    pub async fn to(engine: SocketAddr, seed: u64, one_in: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faulty = Arc::new(AtomicBool::new(false));
        let cuts = Arc::new(AtomicU64::new(0));
        let held = Held::default();
        let (switch, count, holds) = (faulty.clone(), cuts.clone(), held.clone());
        tokio::spawn(async move {
            let mut seeds = StdRng::seed_from_u64(seed);
            while let Ok((client, _)) = listener.accept().await {
                let rng = StdRng::seed_from_u64(seeds.random());
                let dice = Dice { rng, one_in, faulty: switch.clone(), cuts: count.clone() };
                tokio::spawn(join(client, engine, dice, holds.clone()));
            }
        });
        Self { address, faulty, cuts, held }
    }

    /// From now on, a connection stops to pass anything to the server when a request with this text comes, and stays open.
    pub fn hold(&self, text: &str) {
        *self.held.text.lock() = text.as_bytes().to_vec();
    }

    /// The number of connections that are held.
    pub fn holds(&self) -> u64 {
        self.held.connections.load(Ordering::Relaxed)
    }

    /// The number of connections that were cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Makes the link faulty or sound.
    pub fn set_faulty(&self, faulty: bool) {
        self.faulty.store(faulty, Ordering::Relaxed);
    }
}

/// A link to Redis that cuts all its traffic while it is faulty, and the setting with which a service uses it.
pub async fn redis_link() -> (FaultyLink, [(&'static str, String); 1]) {
    let url = crate::space::engine("REDIS_URL");
    let (login, rest) = url.split_once("127.0.0.1:").expect("the engines of tests listen on loopback");
    let (port, database) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let link = FaultyLink::to(SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())), 1, 1).await;
    let url = format!("{login}{}{database}", link.address);
    (link, [("REDIS_URL", url)])
}

struct Dice {
    rng: StdRng,
    one_in: u32,
    faulty: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
}

impl Dice {
    /// Dice for the other direction.
    fn another(&mut self) -> Self {
        let rng = StdRng::seed_from_u64(self.rng.random());
        Self { rng, one_in: self.one_in, faulty: self.faulty.clone(), cuts: self.cuts.clone() }
    }

    fn cuts(&mut self) -> bool {
        let hit = self.rng.random_ratio(1, self.one_in) && self.faulty.load(Ordering::Relaxed);
        self.cuts.fetch_add(u64::from(hit), Ordering::Relaxed);
        hit
    }
}

async fn join(client: TcpStream, engine: SocketAddr, mut dice: Dice, held: Held) {
    let Ok(engine) = TcpStream::connect(engine).await else { return };
    let forward = dice.another();
    let ((from_client, to_client), (from_engine, to_engine)) = (client.into_split(), engine.into_split());
    // A cut of one direction cuts both.
    tokio::select! {
        () = pass(from_client, to_engine, forward, held) => {}
        () = pass(from_engine, to_client, dice, Held::default()) => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut dice: Dice, held: Held) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut piece).await {
        let holds = {
            let text = held.text.lock();
            !text.is_empty() && piece[..n].windows(text.len()).any(|part| part == text.as_slice())
        };
        if holds {
            held.connections.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        if n == 0 || dice.cuts() || to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}
