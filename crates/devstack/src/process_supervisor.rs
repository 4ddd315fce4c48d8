//! Supervises one process: starts it, waits until it is ready, restarts it when it ends, and stops it on request.

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

use crate::handle::{Action, ActionRequest, Handle};
use crate::process::{self, Launch};
use crate::state::{Phase, ProcessStatus};
use crate::terminal::print;

/// Far more than the slowest first start takes, which creates files or runs migrations.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);
/// After a run of this length the backoff starts again at its minimum.
const BACKOFF_RESET: Duration = Duration::from_secs(60);

pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A process to supervise.
pub struct ProcessSpec {
    pub name: String,
    pub port: u16,
    pub launch: Launch,
    pub log: PathBuf,
    /// Succeeds once the process is ready.
    pub probe: Probe,
    /// The time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

pub struct ProcessSupervisor {
    spec: ProcessSpec,
    status: watch::Sender<ProcessStatus>,
    changed: Arc<Notify>,
    child: Option<Child>,
    probing: Option<BoxFuture<'static, Result<()>>>,
    restart_at: Option<Instant>,
    backoff: Duration,
    started: Instant,
    /// The process was ready once. Only such a process is restarted: before, a failure is a mistake in the setup.
    was_ready: bool,
}

impl ProcessSupervisor {
    /// Spawns a supervisor whose process is stopped until the handle starts it. Every change of its status notifies
    /// `changed`.
    pub fn spawn(spec: ProcessSpec, changed: Arc<Notify>) -> Handle {
        let (name, port, log) = (spec.name.clone(), spec.port, spec.log.clone());
        let (status, watched) = watch::channel(ProcessStatus { name, port, log, ..ProcessStatus::default() });
        let (sender, requests) = mpsc::channel(8);
        let handle = Handle::new(&spec.name, sender, watched);
        let supervisor = Self {
            spec,
            status,
            changed,
            child: None,
            probing: None,
            restart_at: None,
            backoff: MIN_BACKOFF,
            started: Instant::now(),
            was_ready: false,
        };
        tokio::spawn(supervisor.run(requests));
        handle
    }

    async fn run(mut self, mut requests: mpsc::Receiver<ActionRequest>) {
        loop {
            tokio::select! {
                request = requests.recv() => {
                    let Some(ActionRequest { action, done }) = request else { break };
                    self.perform(action).await;
                    // The requester may be gone.
                    let _ = done.send(());
                }
                status = ended(&mut self.child) => self.on_end(status),
                result = probed(&mut self.probing) => self.on_probed(result).await,
                () = due(self.restart_at) => self.start(),
            }
        }
        self.stop().await;
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Action::Start if self.child.is_some() => {}
            Action::Start => self.start(),
            Action::Stop => self.stop().await,
            Action::Kill => self.kill().await,
        }
    }

    fn start(&mut self) {
        self.restart_at = None;
        match self.spec.launch.spawn(&self.spec.log) {
            Ok(child) => {
                self.set_status(Phase::Starting, child.id(), None);
                self.child = Some(child);
                self.started = Instant::now();
                self.probing = Some(Box::pin(until_ready(Arc::clone(&self.spec.probe))));
            }
            Err(error) => self.fail(format!("could not be started: {error:#}")),
        }
    }

    async fn stop(&mut self) {
        self.probing = None;
        self.restart_at = None;
        if let Some(mut child) = self.child.take() {
            process::end(&mut child, self.spec.grace).await;
        }
        self.set_status(Phase::Stopped, None, None);
    }

    async fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = child.id() {
            process::signal(pid, Signal::SIGKILL);
        }
        let status = ended(&mut self.child).await;
        self.on_end(status);
    }

    fn on_end(&mut self, status: String) {
        self.child = None;
        self.probing = None;
        let when = if self.was_ready { "ended" } else { "ended while starting" };
        self.fail(format!("{when} ({status})"));
    }

    async fn on_probed(&mut self, result: Result<()>) {
        self.probing = None;
        match result {
            Ok(()) => {
                if self.was_ready {
                    print(&format!("{} is ready again", self.spec.name));
                }
                self.was_ready = true;
                let pid = self.child.as_ref().and_then(Child::id);
                self.set_status(Phase::Ready, pid, None);
            }
            Err(error) => {
                self.stop().await;
                self.fail(format!("was not ready in time: {error:#}"));
            }
        }
    }

    fn fail(&mut self, reason: String) {
        if self.was_ready {
            let backoff = if self.started.elapsed() >= BACKOFF_RESET { MIN_BACKOFF } else { self.backoff };
            self.restart_at = Some(Instant::now() + backoff);
            self.backoff = (backoff * 2).min(MAX_BACKOFF);
            let (name, log) = (&self.spec.name, self.spec.log.display());
            print(&format!("{name} {reason}; restarting it in {:.1} s (log: {log})", backoff.as_secs_f32()));
        }
        self.set_status(Phase::Failed, None, Some(reason));
    }

    fn set_status(&self, state: Phase, pid: Option<u32>, failure: Option<String>) {
        self.status.send_modify(|status| {
            status.state = state;
            status.pid = pid;
            status.failure = failure;
        });
        self.changed.notify_one();
    }
}

async fn until_ready(probe: Probe) -> Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let result = timeout(PROBE_TIMEOUT, probe()).await.unwrap_or_else(|_| bail!("no answer"));
        match result {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(PROBE_INTERVAL).await,
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

async fn probed(probing: &mut Option<BoxFuture<'static, Result<()>>>) -> Result<()> {
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
        let spec = ProcessSpec {
            name: "sleeper".into(),
            port: 0,
            launch: Launch::new("sleep", "/").arg(seconds),
            log: std::env::temp_dir().join(log),
            probe: Arc::new(|| Box::pin(async { Ok(()) })),
            grace: Duration::from_secs(1),
        };
        ProcessSupervisor::spawn(spec, Arc::new(Notify::new()))
    }

    #[tokio::test]
    async fn a_killed_process_is_restarted_and_a_stopped_process_is_not() {
        let handle = sleeper("60", "devstack-test-killed.log");
        handle.start().await.unwrap();
        let first = handle.status().pid;

        handle.kill().await.unwrap();
        handle.wait_for(|phase| phase == Phase::Ready).await.unwrap();
        assert_ne!(handle.status().pid, first);

        handle.stop().await.unwrap();
        assert_eq!(handle.status().pid, None);
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_is_ready_fails_and_the_error_names_its_log() {
        let spec = ProcessSpec {
            name: "false".into(),
            port: 0,
            launch: Launch::new("false", "/"),
            log: std::env::temp_dir().join("devstack-test-false.log"),
            probe: Arc::new(|| Box::pin(async { bail!("not yet") })),
            grace: Duration::from_secs(1),
        };
        let handle = ProcessSupervisor::spawn(spec, Arc::new(Notify::new()));
        let error = handle.start().await.unwrap_err().to_string();
        assert!(error.contains("false ended while starting (exit status: 1)"), "{error}");
        assert!(error.contains("devstack-test-false.log"), "{error}");
    }
}
