//! Start and end of the process.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Client, Space, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::{AbortHandle, JoinSet};

use crate::app::{mongodb_at, mongodb_primary};

pub const BINARY: &str = env!("CARGO_BIN_EXE_chat-service");

/// Requests per second while the process ends.
const RATE: u64 = 200;

/// The time that a process has to end after SIGTERM, of which draining takes two seconds.
const GRACE: Duration = Duration::from_secs(10);

/// A replica in a process of its own.
pub struct Process {
    child: Child,
    pub port: u16,
}

impl Process {
    pub fn start(space: &Space, mysql_url: &str, settings: &[(&'static str, String)]) -> Self {
        Self::start_on(free_port(), space, mysql_url, settings)
    }

    pub fn start_on(port: u16, space: &Space, mysql_url: &str, settings: &[(&'static str, String)]) -> Self {
        Self::start_logging(Stdio::null(), port, space, mysql_url, settings)
    }

    /// Starts a process that writes its log to `log`.
    pub fn start_logging(
        log: impl Into<Stdio>,
        port: u16,
        space: &Space,
        mysql_url: &str,
        settings: &[(&'static str, String)],
    ) -> Self {
        let mut env = space.env(mysql_url);
        env.extend([("PORT", port.to_string()), ("SHUTDOWN_SECONDS", GRACE.as_secs().to_string())]);
        // As an original friend-service, this service has no list of blocks.
        env.push(("FRIEND_SERVICE_URL", format!("http://127.0.0.1:{port}")));
        env.extend_from_slice(settings);
        let child = Command::new(BINARY).env_clear().envs(env).stdout(log).kill_on_drop(true).spawn().unwrap();
        Self { child, port }
    }

    pub fn client(&self, token: &str) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port), token)
    }

    /// Waits until the process listens on its port.
    async fn listening(self) -> Self {
        eventually("the process listens", || async { TcpStream::connect(("127.0.0.1", self.port)).await.ok() }).await;
        self
    }

    /// Waits until the process is ready.
    pub async fn ready(self) -> Self {
        let process = self.listening().await;
        let client = process.client("");
        eventually("the process is ready", || async { client.get("/health/ready").await.ok().then_some(()) }).await;
        eventually("the process knows the blocks", || async {
            client.get("/metrics").await.text.contains("blocks_known{service=\"chat-service\"} 1").then_some(())
        })
        .await;
        process
    }

    /// The most memory that the process has held, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Sends SIGKILL and waits for the end of the process.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The outcome of a request on a connection of its own.
enum Outcome {
    Answered,
    /// The process no longer accepts connections.
    Refused,
    Broken(String),
}

/// Sends a request and counts a complete answer.
async fn request(port: u16, answered: Arc<AtomicU64>) -> Outcome {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return Outcome::Refused };
    let head = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    if let Err(e) = stream.write_all(head).await {
        return Outcome::Broken(e.to_string());
    }
    let mut answer = String::new();
    if let Err(e) = stream.read_to_string(&mut answer).await {
        return Outcome::Broken(e.to_string());
    }
    if answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"service\":\"Chat Service\"}") {
        answered.fetch_add(1, Ordering::Relaxed);
        Outcome::Answered
    } else {
        Outcome::Broken(answer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_interrupts_no_request() {
    let space = Space::new();
    let mut process = Process::start(&space, &space.schema("chat").await, &[]).ready().await;
    let port = process.port;

    let answered = Arc::new(AtomicU64::new(0));
    let counter = answered.clone();
    let load = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
        let mut requests = Vec::new();
        loop {
            ticks.tick().await;
            requests.push(tokio::spawn(request(port, counter.clone())));
            if requests.len() as u64 >= RATE && TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                break join_all(requests).await;
            }
        }
    });
    eventually("the process is under load", || async { (answered.load(Ordering::Relaxed) >= RATE / 2).then_some(()) })
        .await;
    process.terminate().await;

    let client = process.client("");
    eventually("the process drains", || async {
        (client.get("/health/ready").await.body["status"] == "draining").then_some(())
    })
    .await;
    let status = tokio::time::timeout(GRACE, process.child.wait()).await.expect("the process ends in time").unwrap();
    assert!(status.success());
    let outcomes: Vec<Outcome> = load.await.unwrap().into_iter().map(Result::unwrap).collect();
    let broken: Vec<&str> = outcomes
        .iter()
        .filter_map(|outcome| if let Outcome::Broken(reason) = outcome { Some(reason.as_str()) } else { None })
        .collect();
    assert!(broken.is_empty(), "{} of {} requests, the first: {}", broken.len(), outcomes.len(), broken[0]);
    assert!(answered.load(Ordering::Relaxed) > RATE);
}

#[tokio::test]
async fn two_replicas_start_concurrently_on_empty_stores() {
    let space = Space::new();
    let schema = space.schema("chat").await;

    let (a, b) = (Process::start(&space, &schema, &[]), Process::start(&space, &schema, &[]));

    tokio::join!(a.ready(), b.ready());
}

#[tokio::test]
async fn an_invalid_setting_ends_the_start_with_one_line() {
    let start = async |name: &str, value: &str| -> Output {
        let env = [("SECRET_KEY", "s"), ("MYSQL_URL", "mysql://a@b/c"), ("MONGO_URL", "mongodb://b"), (name, value)];
        Command::new(BINARY).env_clear().envs(env).output().await.unwrap()
    };

    for (name, value) in [
        ("SECRET_KEY", ""),
        ("PORT", "80o5"),
        ("MONGO_URL", "x"),
        ("SSE_KEEPALIVE_SECONDS", "0"),
        ("SECRET_KEY", "dev-only-secret-key-do-not-use-in-production"),
        ("MONGO_URL", "mongodb://admin:placeholder@b"),
    ] {
        let output = start(name, value).await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(line.starts_with(&format!("chat-service: {name}: ")) && line.trim_end().lines().count() == 1, "{line}");
    }
}

#[tokio::test]
async fn a_process_without_its_stores_is_alive_but_not_ready() {
    let space = Space::new();
    let closed = free_port();
    let settings = [
        ("MONGO_URL", format!("mongodb://127.0.0.1:{closed}/?directConnection=true")),
        ("REDIS_URL", format!("redis://127.0.0.1:{closed}")),
        ("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{closed}")),
    ];
    let process = Process::start(&space, &format!("mysql://a@127.0.0.1:{closed}/b"), &settings).listening().await;

    process.client("").get("/health").await.expect(200);
    process.client("").get("/health/ready").await.expect(503);
    let answer = process.client(&space.token(1, "ann")).get("/chat-rooms").await;
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.expect(503)["error"], "service_unavailable");
}

/// A store that refuses connections until it becomes available.
struct UnavailableStore {
    url: String,
    /// Bound and not listening: connections are refused, and no other process gets the port.
    socket: TcpSocket,
    store: String,
}

impl UnavailableStore {
    fn new(url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (login, rest) = url.split_once("127.0.0.1:").expect("the stores of tests listen on loopback");
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (store, rest) = rest.split_at(digits);
        Self { url: format!("{login}127.0.0.1:{port}{rest}"), socket, store: format!("127.0.0.1:{store}") }
    }

    /// Forwards connections to the store until the returned task is aborted.
    fn become_available(self) -> AbortHandle {
        let (listener, address) = (self.socket.listen(64).unwrap(), self.store);
        let forward = async move {
            // Ends the connections with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut store = TcpStream::connect(&address).await.unwrap();
                connections.spawn(async move { copy_bidirectional(&mut client, &mut store).await });
            }
        };
        tokio::spawn(forward).abort_handle()
    }
}

#[tokio::test]
async fn a_process_is_ready_when_its_stores_were_available_once_and_tells_when_they_go_away() {
    let space = Space::new();
    let schema = space.schema("chat").await;
    let redis = std::env::var("REDIS_URL").unwrap();
    let mongo = mongodb_at(mongodb_primary().await);
    let [mysql, mongo, redis] = [&schema, &mongo, &redis].map(|url| UnavailableStore::new(url));
    let settings = [("MONGO_URL", mongo.url.clone()), ("REDIS_URL", redis.url.clone())];
    let process = Process::start(&space, &mysql.url, &settings).listening().await;
    process.client("").get("/health/ready").await.expect(503);

    let stores = [mysql, mongo, redis].map(UnavailableStore::become_available);

    let process = process.ready().await;
    let rooms = process.client(&space.token(1, "ann")).get("/chat-rooms").await.expect(200);
    assert_eq!(rooms, json!([]));

    stores.iter().for_each(AbortHandle::abort);

    let client = process.client("");
    let expected = json!({"redis": "degraded", "mysql": "degraded", "mongodb": "degraded", "kafka": "ready"});
    eventually("the report names the lost stores", || async {
        let report = client.get("/health/ready").await.expect(200);
        (statuses(&report) == expected).then_some(())
    })
    .await;
    let asked = Instant::now();
    assert_eq!(client.get("/health/ready").await.expect(200)["status"], "degraded");
    // Three times the 100 ms of a probe.
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains(r#"dependency_up{dependency="mysql",service="chat-service"} 0"#), "{metrics}");
}

/// The status of each dependency of a report.
fn statuses(report: &Value) -> Value {
    let dependencies = report["dependencies"].as_array().unwrap().iter();
    dependencies.map(|each| (each["name"].as_str().unwrap().to_owned(), each["status"].clone())).collect()
}

#[tokio::test]
async fn all_commands_are_named_by_help_and_by_the_error_for_an_unknown_one() {
    let run = async |argument: &str| Command::new(BINARY).arg(argument).env_clear().output().await.unwrap();

    let (help, unknown) = (run("--help").await, run("epochs").await);
    assert!(help.status.success() && !unknown.status.success());
    let (help, unknown) = (String::from_utf8(help.stdout).unwrap(), String::from_utf8(unknown.stderr).unwrap());
    for command in ["topics", "dlq", "healthcheck", "epoch", "files"] {
        assert!(help.contains(&format!("\n  {command} ")) && unknown.contains(command), "{help}{unknown}");
    }
    assert!(unknown.starts_with("chat-service: no command \"epochs\"; ") && unknown.lines().count() == 1);
}

#[tokio::test]
async fn unknown_arguments_are_refused_before_a_command_connects() {
    let cases = [
        ("topics", "--dry-run", "no argument \"--dry-run\"; topics takes none"),
        ("healthcheck", "now", "no argument \"now\"; healthcheck takes none"),
        ("epoch", "--old", "epoch shows the epoch of the store, epoch --new begins another"),
        ("help", "topics", "no argument \"topics\"; help takes none"),
        (
            "dlq",
            "lst",
            "dlq list [TOPIC]…, dlq show LETTER…, dlq replay LETTER…; a LETTER has the name that the list shows, such as user.events/0/17",
        ),
    ];
    for (command, argument, reason) in cases {
        // Without a setting: a command that connects would ask for one.
        let refused = Command::new(BINARY).args([command, argument]).env_clear().output().await.unwrap();
        assert!(!refused.status.success(), "{command}");
        assert_eq!(String::from_utf8(refused.stderr).unwrap(), format!("chat-service: {reason}\n"));
    }
}

#[tokio::test]
async fn the_commands_for_topics_and_dead_letters_need_kafka_only() {
    let space = Space::new();
    let env = space.env("").into_iter().filter(|(name, _)| name.starts_with("KAFKA_")).collect::<Vec<_>>();
    for args in [&["topics"][..], &["dlq", "list"]] {
        let command =
            Command::new(BINARY).args(args).env_clear().envs(env.clone()).env("KAFKA_REPLICATION", "1").output();
        let Output { status, stderr, .. } = command.await.unwrap();
        assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    }
}
