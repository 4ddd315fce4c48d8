//! The stack under test: what runs there, and how it is stopped, started and killed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

pub const BROKERS: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];

/// One test at a time, whatever the runner is told.
static TURN: Mutex<()> = Mutex::const_new(());

pub struct Stack {
    full: bool,
    _turn: MutexGuard<'static, ()>,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    pid: Option<u32>,
    state: String,
}

impl Stack {
    /// The stack with everything up, whatever the test before left, for this test alone.
    pub async fn whole() -> Self {
        let stack = Self { full: setting("FAULTS") == "full", _turn: TURN.lock().await };
        let down: Vec<_> = stack.processes().await.into_iter().filter(|process| process.state != "ready").collect();
        join_all(down.iter().map(|process| stack.start(&process.name))).await;
        stack
    }

    /// How often, or how long: small in CI, full by `--faults=full`.
    pub fn sized<T>(&self, small: T, full: T) -> T {
        if self.full { full } else { small }
    }

    /// Fails where the stack is too small for what is to be shown.
    pub async fn need(&self, names: &[&str]) {
        for name in names {
            assert!(self.has(name).await, "this needs {name}: leave --brokers and --replicas away, --faults knows");
        }
    }

    pub async fn has(&self, name: &str) -> bool {
        self.processes().await.iter().any(|process| process.name == name)
    }

    pub async fn replicas(&self, service: &str) -> Vec<String> {
        let names = self.processes().await.into_iter().map(|process| process.name);
        names.filter(|name| name.starts_with(service)).collect()
    }

    /// The processes of our services, to see that none was started again.
    pub async fn pids(&self) -> BTreeMap<String, Option<u32>> {
        let ours = self.processes().await.into_iter().filter(|process| process.name.contains("-service-"));
        ours.map(|process| (process.name, process.pid)).collect()
    }

    /// SIGKILL; the supervisor starts it again.
    pub async fn kill(&self, name: &str) {
        testkit::control("kill", name).await;
    }

    pub async fn stop(&self, name: &str) {
        testkit::control("stop", name).await;
    }

    /// SIGKILL, and it stays down.
    pub async fn strike(&self, name: &str) {
        self.kill(name).await;
        self.stop(name).await;
    }

    /// Returns when it is ready.
    pub async fn start(&self, name: &str) {
        testkit::control("start", name).await;
    }

    async fn processes(&self) -> Vec<Process> {
        let mut answer = testkit::supervisor(&json!({"do": "status"})).await;
        serde_json::from_value(answer["entries"].take()).unwrap()
    }
}

/// What `cargo stack test --faults` says.
pub fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `cargo stack test --faults`"))
}
