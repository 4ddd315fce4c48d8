//! A running stack: its plan, the handles of its processes, and its state file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::layer::rank;
use crate::plan::Plan;
use crate::process;
use crate::process_supervisor::{ProcessSpec, ProcessSupervisor};
use crate::state::{ProcessStatus, RecordedProcess, StateFile};
use crate::terminal::print_step;

pub struct Stack {
    pub plan: Plan,
    /// Cancelled to stop the stack.
    pub shutdown: CancellationToken,
    /// Notified when the state file is out of date.
    pub changed: Arc<Notify>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    handles: Vec<Handle>,
    env: BTreeMap<String, String>,
    ready: bool,
}

impl Stack {
    pub fn new(plan: Plan) -> Self {
        Self { plan, shutdown: CancellationToken::new(), changed: Arc::new(Notify::new()), inner: Mutex::default() }
    }

    /// Supervises a process and waits until it is ready.
    pub async fn start(&self, spec: ProcessSpec) -> Result<()> {
        let started = Instant::now();
        let (name, port) = (spec.name.clone(), spec.port);
        let handle = ProcessSupervisor::spawn(spec, Arc::clone(&self.changed));
        self.register(handle.clone());
        handle.start().await?;
        print_step(&name, &format!("ready on 127.0.0.1:{port}"), started);
        Ok(())
    }

    pub async fn start_all(&self, specs: impl IntoIterator<Item = ProcessSpec>) -> Result<()> {
        try_join_all(specs.into_iter().map(|spec| self.start(spec))).await?;
        Ok(())
    }

    pub fn register(&self, handle: Handle) {
        self.inner().handles.push(handle);
    }

    pub fn handles(&self) -> Vec<Handle> {
        self.inner().handles.clone()
    }

    pub fn handle(&self, name: &str) -> Result<Handle> {
        let handles = self.handles();
        let names = || handles.iter().map(|handle| handle.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = handles.iter().find(|handle| handle.name == name).cloned();
        found.with_context(|| format!("`{name}` is not one of {}", names()))
    }

    /// The status of every process, in the order of `status`.
    pub fn processes(&self) -> Vec<ProcessStatus> {
        let mut processes: Vec<_> = self.handles().iter().map(Handle::status).collect();
        processes.sort_by_key(|process| (rank(&process.name), process.name.clone()));
        processes
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        self.inner().env.clone()
    }

    pub fn set_env(&self, env: BTreeMap<String, String>) {
        self.inner().env = env;
    }

    pub fn set_ready(&self) {
        self.inner().ready = true;
        self.changed.notify_one();
    }

    /// Writes the state file after every change; never returns unless that fails.
    pub async fn record(&self) -> Result<()> {
        loop {
            self.write_state()?;
            self.changed.notified().await;
        }
    }

    pub fn write_state(&self) -> Result<()> {
        let supervisor = std::process::id();
        let (env, ready) = {
            let inner = self.inner();
            (inner.env.clone(), inner.ready && !self.shutdown.is_cancelled())
        };
        let processes = self.processes().into_iter().map(RecordedProcess::new).collect();
        let start_time = process::start_time(supervisor).unwrap_or_default();
        StateFile { supervisor, start_time, ready, env, processes }.write(&self.plan.dir)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
