//! The clients of docs/examples behind a proxy that cuts their connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

use std::process::Stdio;
use std::time::Duration;

use e2e::Person;
use serde_json::Value;
use testkit::skip;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::broadcast;
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");

/// A client waits up to 5 s before it reconnects, and twice as long after a second failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy in front of the gateway.
struct Proxy {
    url: String,
    cut: broadcast::Sender<()>,
}

impl Proxy {
    async fn start() -> Self {
        let gateway = std::env::var("GATEWAY_URL").expect("GATEWAY_URL is not set: run `cargo stack test`");
        let upstream = gateway.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let cut = broadcast::Sender::new(1);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut cut, upstream) = (cuts.subscribe(), upstream.clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { url, cut }
    }
}

/// A running example.
struct Example {
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Example {
    /// Starts an example that follows a room, or all rooms; `None` without its interpreter.
    fn start(interpreter: &str, file: &str, api: &str, token: &str, room: Option<i64>) -> Option<Self> {
        let mut command = Command::new(interpreter);
        command.arg(format!("{FOLDER}/{file}")).env("API", api).env("TOKEN", token);
        command.args(room.map(|room| room.to_string()));
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().ok()?;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { lines, _process: process })
    }

    /// The next event of this name.
    async fn next(&mut self, name: &str) -> Value {
        let find = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the example goes on");
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["event"] == name {
                    return event;
                }
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no {name}"))
    }
}

async fn resumes(interpreter: &str, file: &str) {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    for followed in [Some(room), None] {
        resumes_in(interpreter, file, &ann, &bob, room, followed).await;
    }
}

/// `followed` is the room that the example follows, or none for all rooms.
async fn resumes_in(interpreter: &str, file: &str, ann: &Person, bob: &Person, room: i64, followed: Option<i64>) {
    let proxy = Proxy::start().await;
    let Some(mut example) = Example::start(interpreter, file, &proxy.url, bob.client.token(), followed) else {
        return skip(&format!("no {interpreter} here"));
    };
    example.next("connected").await;

    let mut sent = 0..;
    let mut received = Vec::new();
    for _ in 0..3 {
        for n in sent.by_ref().take(2) {
            ann.send_message(room, &n.to_string()).await;
        }
        for _ in 0..2 {
            received.push(example.next("new_message").await["data"]["content"].clone());
        }
        proxy.cut.send(()).unwrap();
        // While the client is away.
        ann.send_message(room, &sent.next().unwrap().to_string()).await;
        received.push(example.next("new_message").await["data"]["content"].clone());
    }

    assert_eq!(received, (0..9).map(|n| Value::from(n.to_string())).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_example_in_javascript_resumes_without_a_loss_or_a_repeat() {
    resumes("node", "stream.mjs").await;
}

#[tokio::test]
async fn the_example_in_python_resumes_without_a_loss_or_a_repeat() {
    resumes("python3", "stream.py").await;
}
