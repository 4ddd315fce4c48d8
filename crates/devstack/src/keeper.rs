//! Keeps one process running: starts it, waits until it is ready, starts it again when it dies, stops it on order.

use std::future::pending;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::handle::{Handle, Order, Ordered};
use crate::process::{self, Launch};
use crate::report;
use crate::state::{Entry, Phase};

/// A first start creates files and a first start of a service migrates; more than this means that it hangs.
const READY_WITHIN: Duration = Duration::from_secs(90);
const PROBE_EVERY: Duration = Duration::from_millis(100);
const PROBE_TAKES_AT_MOST: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Who lived so long has recovered: its next death is answered as quickly as the first.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A process to keep.
pub struct Unit {
    pub name: String,
    pub port: u16,
    pub launch: Launch,
    pub log: PathBuf,
    /// Succeeds once the process does its work.
    pub probe: Probe,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
}

/// Starts to keep `unit`, which stays stopped until ordered. `changed` is told of every change.
pub fn keep(unit: Unit, changed: Arc<Notify>) -> Handle {
    let entry = Entry { name: unit.name.clone(), port: unit.port, log: unit.log.clone(), ..Entry::default() };
    let (told, seen) = watch::channel(entry);
    let (orders, received) = mpsc::channel(8);
    let handle = Handle::new(&unit.name, orders, seen);
    let keeper = Keeper {
        unit,
        told,
        changed,
        child: None,
        probing: None,
        again_at: None,
        pause: FIRST_PAUSE,
        started: Instant::now(),
        proven: false,
    };
    tokio::spawn(keeper.run(received));
    handle
}

struct Keeper {
    unit: Unit,
    told: watch::Sender<Entry>,
    changed: Arc<Notify>,
    child: Option<Child>,
    probing: Option<BoxFuture<'static, Result<()>>>,
    again_at: Option<Instant>,
    pause: Duration,
    started: Instant,
    /// It was ready once, so its death is an accident and not a mistake in the setup.
    proven: bool,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Ordered>) {
        loop {
            tokio::select! {
                ordered = orders.recv() => {
                    let Some((order, done)) = ordered else { break };
                    self.obey(order).await;
                    // Whoever ordered may have gone.
                    let _ = done.send(());
                }
                status = ended(&mut self.child) => self.died(status),
                answer = answered(&mut self.probing) => self.probed(answer).await,
                () = due(self.again_at) => self.start(),
            }
        }
        self.stop().await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start if self.child.is_some() => {}
            Order::Start => self.start(),
            Order::Stop => self.stop().await,
            Order::Kill => self.kill().await,
        }
    }

    fn start(&mut self) {
        self.again_at = None;
        match self.unit.launch.spawn(&self.unit.log) {
            Ok(child) => {
                self.tell(Phase::Starting, child.id(), None);
                self.child = Some(child);
                self.started = Instant::now();
                self.probing = Some(Box::pin(until_ready(Arc::clone(&self.unit.probe))));
            }
            Err(error) => self.failed(format!("could not be started: {error:#}")),
        }
    }

    async fn stop(&mut self) {
        self.probing = None;
        self.again_at = None;
        if let Some(mut child) = self.child.take() {
            process::end(&mut child, self.unit.grace).await;
        }
        self.tell(Phase::Stopped, None, None);
    }

    async fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = child.id() {
            process::signal(pid, Signal::SIGKILL);
        }
        let status = ended(&mut self.child).await;
        self.died(status);
    }

    fn died(&mut self, status: String) {
        self.child = None;
        self.probing = None;
        let when = if self.proven { "ended" } else { "ended while starting" };
        self.failed(format!("{when} ({status})"));
    }

    async fn probed(&mut self, answer: Result<()>) {
        self.probing = None;
        match answer {
            Ok(()) => {
                if self.proven {
                    report::say(&format!("{} is ready again", self.unit.name));
                }
                self.proven = true;
                let pid = self.child.as_ref().and_then(Child::id);
                self.tell(Phase::Ready, pid, None);
            }
            Err(error) => {
                self.stop().await;
                self.failed(format!("was not ready in time: {error:#}"));
            }
        }
    }

    fn failed(&mut self, why: String) {
        if self.proven {
            let pause = if self.started.elapsed() >= RECOVERED_AFTER { FIRST_PAUSE } else { self.pause };
            self.again_at = Some(Instant::now() + pause);
            self.pause = (pause * 2).min(LONGEST_PAUSE);
            let (name, log) = (&self.unit.name, self.unit.log.display());
            report::say(&format!("{name} {why}; starting it again in {:.1} s (log: {log})", pause.as_secs_f32()));
        }
        self.tell(Phase::Failed, None, Some(why));
    }

    fn tell(&self, state: Phase, pid: Option<u32>, failure: Option<String>) {
        self.told.send_modify(|entry| {
            entry.state = state;
            entry.pid = pid;
            entry.failure = failure;
        });
        self.changed.notify_one();
    }
}

async fn until_ready(probe: Probe) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let answer = timeout(PROBE_TAKES_AT_MOST, probe()).await.unwrap_or_else(|_| bail!("no answer"));
        match answer {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(PROBE_EVERY).await,
            Ok(()) => return Ok(()),
        }
    }
}

async fn ended(child: &mut Option<Child>) -> String {
    match child {
        Some(child) => match child.wait().await {
            Ok(status) => ExitStatus::to_string(&status),
            Err(error) => error.to_string(),
        },
        None => pending().await,
    }
}

async fn answered(probing: &mut Option<BoxFuture<'static, Result<()>>>) -> Result<()> {
    match probing {
        Some(probing) => probing.await,
        None => pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(seconds: &str, log: &str) -> Handle {
        let unit = Unit {
            name: "sleeper".into(),
            port: 0,
            launch: Launch::new("sleep", "/").arg(seconds),
            log: std::env::temp_dir().join(log),
            probe: Arc::new(|| Box::pin(async { Ok(()) })),
            grace: Duration::from_secs(1),
        };
        keep(unit, Arc::new(Notify::new()))
    }

    #[tokio::test]
    async fn a_killed_process_is_started_again_and_a_stopped_one_is_not() {
        let kept = sleeper("60", "devstack-test-killed.log");
        kept.start().await.unwrap();
        let first = kept.entry().pid;

        kept.kill().await.unwrap();
        kept.wait_for(|phase| phase == Phase::Ready).await.unwrap();
        assert_ne!(kept.entry().pid, first);

        kept.stop().await.unwrap();
        assert_eq!(kept.entry().pid, None);
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_is_ready_fails_with_its_log() {
        let unit = Unit {
            name: "mayfly".into(),
            port: 0,
            launch: Launch::new("false", "/"),
            log: std::env::temp_dir().join("devstack-test-mayfly.log"),
            probe: Arc::new(|| Box::pin(async { bail!("not yet") })),
            grace: Duration::from_secs(1),
        };
        let refusal = keep(unit, Arc::new(Notify::new())).start().await.unwrap_err().to_string();
        assert!(refusal.contains("mayfly ended while starting (exit status: 1)"), "{refusal}");
        assert!(refusal.contains("devstack-test-mayfly.log"), "{refusal}");
    }
}
