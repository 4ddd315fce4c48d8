//! The process itself: how it starts, refuses to start, and ends.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use testkit::{Client, Space, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-service");

/// Requests a second while the process is told to end.
const RATE: u64 = 200;

/// How long an ending process may take here; its drain takes two seconds of it.
const GRACE: Duration = Duration::from_secs(10);

/// One replica as a process of its own.
pub struct Process {
    child: Child,
    pub port: u16,
}

impl Process {
    pub fn start(space: &Space, mysql_url: &str, more: &[(&'static str, String)]) -> Self {
        Self::start_on(free_port(), space, mysql_url, more)
    }

    pub fn start_on(port: u16, space: &Space, mysql_url: &str, more: &[(&'static str, String)]) -> Self {
        Self::start_logging(Stdio::null(), port, space, mysql_url, more)
    }

    /// With its log somewhere.
    pub fn start_logging(
        log: impl Into<Stdio>,
        port: u16,
        space: &Space,
        mysql_url: &str,
        more: &[(&'static str, String)],
    ) -> Self {
        let mut env = space.env(mysql_url);
        env.extend([("PORT", port.to_string()), ("SHUTDOWN_SECONDS", GRACE.as_secs().to_string())]);
        env.extend_from_slice(more);
        let child = Command::new(BINARY).env_clear().envs(env).stdout(log).kill_on_drop(true).spawn().unwrap();
        Self { child, port }
    }

    pub fn client(&self, token: &str) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port), token)
    }

    pub async fn ready(self) -> Self {
        let address = ("127.0.0.1", self.port);
        eventually("it listens", || async { TcpStream::connect(address).await.ok() }).await;
        let client = self.client("");
        eventually("it is ready", || async { client.get("/health/ready").await.ok().then_some(()) }).await;
        self
    }

    /// SIGKILL, and its end.
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

/// What became of one request on a connection of its own.
#[derive(Debug, PartialEq)]
enum Fate {
    Answered,
    /// The listener was closed already.
    NotTaken,
    Broken(String),
}

async fn request(port: u16) -> Fate {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return Fate::NotTaken };
    let head = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    if let Err(e) = stream.write_all(head).await {
        return Fate::Broken(e.to_string());
    }
    let mut answer = String::new();
    if let Err(e) = stream.read_to_string(&mut answer).await {
        return Fate::Broken(e.to_string());
    }
    let complete = answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"service\":\"Chat Service\"}");
    if complete { Fate::Answered } else { Fate::Broken(answer) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_breaks_no_request() {
    let space = Space::new();
    let mut process = Process::start(&space, &space.schema("chat").await, &[]).ready().await;
    let port = process.port;

    let load = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
        let mut requests = Vec::new();
        loop {
            ticks.tick().await;
            requests.push(tokio::spawn(request(port)));
            if requests.len() as u64 >= RATE && TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                break futures_util::future::join_all(requests).await;
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    process.terminate().await;

    let client = process.client("");
    eventually("it is no longer ready", || async {
        (client.get("/health/ready").await.body["status"] == "draining").then_some(())
    })
    .await;
    let status = tokio::time::timeout(GRACE, process.child.wait()).await.expect("it ends in time").unwrap();
    assert!(status.success());
    let fates: Vec<Fate> = load.await.unwrap().into_iter().map(Result::unwrap).collect();
    let broken: Vec<&Fate> = fates.iter().filter(|fate| matches!(fate, Fate::Broken(_))).collect();
    assert!(broken.is_empty(), "{} of {} requests, the first: {:?}", broken.len(), fates.len(), broken[0]);
    assert!(fates.iter().filter(|fate| **fate == Fate::Answered).count() as u64 > RATE);
}

#[tokio::test]
async fn two_replicas_start_at_once_on_empty_stores() {
    let space = Space::new();
    let schema = space.schema("chat").await;

    let (a, b) = (Process::start(&space, &schema, &[]), Process::start(&space, &schema, &[]));

    tokio::join!(a.ready(), b.ready());
}

#[tokio::test]
async fn a_wrong_configuration_stops_the_start_with_one_line() {
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
    ] {
        let output = start(name, value).await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(line.starts_with(&format!("chat-service: {name}: ")) && line.trim_end().lines().count() == 1, "{line}");
    }
}

#[tokio::test]
async fn without_its_engines_it_lives_and_says_that_it_is_not_ready() {
    let space = Space::new();
    let nowhere = free_port();
    let engines = [
        ("MONGO_URL", format!("mongodb://127.0.0.1:{nowhere}/?directConnection=true")),
        ("REDIS_URL", format!("redis://127.0.0.1:{nowhere}")),
        ("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{nowhere}")),
    ];
    let process = Process::start(&space, &format!("mysql://a@127.0.0.1:{nowhere}/b"), &engines);
    let address = ("127.0.0.1", process.port);
    eventually("it listens", || async { TcpStream::connect(address).await.ok() }).await;

    process.client("").get("/health").await.expect(200);
    process.client("").get("/health/ready").await.expect(503);
    let answer = process.client(&space.token(1, "ann")).get("/chat-rooms").await;
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.expect(503)["error"], "service_unavailable");
}

/// A store that is not there yet: nobody listens where its URL leads.
struct Absent {
    url: String,
    port: u16,
    store: String,
}

impl Absent {
    fn behind(url: &str) -> Self {
        let port = free_port();
        let (login, rest) = url.split_once("127.0.0.1:").expect("stores of tests are on this machine");
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (store, rest) = rest.split_at(digits);
        Self { url: format!("{login}127.0.0.1:{port}{rest}"), port, store: format!("127.0.0.1:{store}") }
    }

    async fn comes(self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut store = TcpStream::connect(&self.store).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut store).await });
            }
        });
    }
}

#[tokio::test]
async fn it_becomes_ready_by_itself_when_its_stores_come() {
    let space = Space::new();
    let schema = space.schema("chat").await;
    let redis = std::env::var("REDIS_URL").unwrap();
    let [mysql, mongo, redis] = [&schema, &space.mongo_url(), &redis].map(|url| Absent::behind(url));
    let stores = [("MONGO_URL", mongo.url.clone()), ("REDIS_URL", redis.url.clone())];
    let process = Process::start(&space, &mysql.url, &stores);
    let address = ("127.0.0.1", process.port);
    eventually("it listens", || async { TcpStream::connect(address).await.ok() }).await;
    process.client("").get("/health/ready").await.expect(503);

    for store in [mysql, mongo, redis] {
        store.comes().await;
    }

    let process = process.ready().await;
    let rooms = process.client(&space.token(1, "ann")).get("/chat-rooms").await.expect(200);
    assert_eq!(rooms, serde_json::json!([]));
}
