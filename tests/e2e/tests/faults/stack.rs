//! The stack under test: its processes, and how a test stops, starts and kills them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

pub const BROKERS: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];

/// Lets one test run at a time, regardless of `--test-threads`.
static RUNNING: Mutex<()> = Mutex::const_new(());

pub struct Stack {
    full: bool,
    _running: MutexGuard<'static, ()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    This,
    Previous,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    pid: Option<u32>,
    state: String,
}

impl Stack {
    /// Waits for the other tests, and starts every process that is down.
    pub async fn all_up() -> Self {
        let stack = Self { full: setting("FAULTS") == "full", _running: RUNNING.lock().await };
        let down: Vec<_> = stack.processes().await.into_iter().filter(|process| process.state != "ready").collect();
        join_all(down.iter().map(|process| stack.start(&process.name))).await;
        stack
    }

    /// `full` for `--faults=full`, otherwise `small`.
    pub fn sized<T>(&self, small: T, full: T) -> T {
        if self.full { full } else { small }
    }

    /// Panics unless the stack has these processes.
    pub async fn require(&self, names: &[&str]) {
        for name in names {
            assert!(self.has(name).await, "the test needs {name}: run --faults without --brokers and --replicas");
        }
    }

    pub async fn has(&self, name: &str) -> bool {
        self.processes().await.iter().any(|process| process.name == name)
    }

    pub async fn is_ready(&self, name: &str) -> bool {
        self.processes().await.iter().any(|process| process.name == name && process.state == "ready")
    }

    pub async fn replicas(&self, service: &str) -> Vec<String> {
        let names = self.processes().await.into_iter().map(|process| process.name);
        names.filter(|name| name.starts_with(service)).collect()
    }

    /// The process ids of our services, by name. A restart changes them.
    pub async fn service_pids(&self) -> BTreeMap<String, Option<u32>> {
        let ours = self.processes().await.into_iter().filter(|process| process.name.contains("-service-"));
        ours.map(|process| (process.name, process.pid)).collect()
    }

    /// Sends SIGKILL. The supervisor restarts the process.
    pub async fn kill(&self, name: &str) {
        testkit::control("kill", name).await;
    }

    /// Kills processes in turn. Each runs for a random time before, in milliseconds, and starts again before the next is killed.
    pub async fn kill_in_turn(&self, names: &[String], kills: usize, lifetime_millis: &Range<u64>, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        for name in names.iter().cycle().take(kills) {
            tokio::time::sleep(Duration::from_millis(random.random_range(lifetime_millis.clone()))).await;
            self.kill(name).await;
            self.start(name).await;
        }
    }

    pub async fn stop(&self, name: &str) {
        testkit::control("stop", name).await;
    }

    /// Sends SIGKILL and keeps the process down.
    pub async fn kill_and_stop(&self, name: &str) {
        self.kill(name).await;
        self.stop(name).await;
    }

    /// Stops the process, starts it, and waits until it is ready.
    pub async fn restart(&self, name: &str) {
        self.stop(name).await;
        self.start(name).await;
    }

    /// The releases with which a drill restarts the services in turn: this one; or this one, the previous one and this one
    /// again if the stack has started with the previous one.
    pub fn releases(&self) -> &'static [Release] {
        if std::env::var_os("STACK_PREVIOUS").is_some() {
            &[Release::This, Release::Previous, Release::This]
        } else {
            &[Release::This]
        }
    }

    /// Lets the next start of a replica run the program of a release.
    pub fn choose_release(&self, replica: &str, service: &str, release: Release) {
        let chosen = match release {
            Release::This => program(service),
            Release::Previous => program(&format!("previous-{service}")),
        };
        std::fs::remove_file(program(replica)).unwrap();
        symlink(chosen, program(replica)).unwrap();
    }

    /// Sends a signal of which the supervisor learns nothing.
    pub async fn signal(&self, name: &str, signal: Signal) {
        let process = self.processes().await.into_iter().find(|process| process.name == name);
        let pid = process.and_then(|process| process.pid).unwrap_or_else(|| panic!("{name} does not run"));
        kill(Pid::from_raw(pid as i32), signal).unwrap();
    }

    /// From now on, every write of an engine to a file is refused.
    pub fn fill_disk(&self, engine: &str) {
        std::fs::write(disk(engine), "").unwrap();
    }

    /// Returns the number of writes that were refused.
    pub fn empty_disk(&self, engine: &str) -> u64 {
        let refused = std::fs::metadata(disk(engine)).unwrap().len();
        std::fs::remove_file(disk(engine)).unwrap();
        refused
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self, name: &str) {
        testkit::control("start", name).await;
    }

    async fn processes(&self) -> Vec<Process> {
        let mut answer = testkit::supervisor(&json!({"do": "status"})).await;
        serde_json::from_value(answer["entries"].take()).unwrap()
    }
}

/// A program of the stack, or the link by which a replica starts.
fn program(name: &str) -> PathBuf {
    PathBuf::from(setting("STACK_PROGRAMS")).join(name)
}

/// The file whose existence fills the disk of an engine, and which has a byte for each refused write.
fn disk(engine: &str) -> String {
    format!("{}/{engine}.full", setting("STACK_DISKS"))
}

/// A setting from `cargo stack test --faults`.
pub fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `cargo stack test --faults`"))
}
