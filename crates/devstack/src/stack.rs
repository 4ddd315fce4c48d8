//! A running stack: its plan and its keepers. Brings everything up in order and takes it down again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join, try_join_all};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::keeper::{self, Unit};
use crate::options::{Part, UpOptions};
use crate::ports::Ports;
use crate::report::step;
use crate::state::{Entry, Recorded, StateFile};
use crate::workspace::Place;
use crate::{build, engines, environment, gateway, observe, process, services, web};

/// What is to run, and where.
pub struct Plan {
    pub place: Place,
    pub options: UpOptions,
    pub ports: Ports,
}

pub struct Stack {
    pub plan: Plan,
    /// Cancelled when everything is to go down.
    pub leave: CancellationToken,
    changed: Arc<Notify>,
    known: Mutex<Known>,
}

/// What is known only once it runs.
#[derive(Default)]
struct Known {
    handles: Vec<Handle>,
    env: BTreeMap<String, String>,
    ready: bool,
}

impl Stack {
    pub fn new(place: Place, options: UpOptions) -> Result<Self> {
        let ports = Ports::choose(&options, place.number())?;
        Ok(Self {
            plan: Plan { place, options, ports },
            leave: CancellationToken::new(),
            changed: Arc::new(Notify::new()),
            known: Mutex::default(),
        })
    }

    /// Everything, in the order in which one needs the other.
    pub async fn bring_up(&self) -> Result<()> {
        let started = Instant::now();
        let engines_only = self.plan.options.only == Some(Part::Engines);
        if engines_only {
            let kafka = engines::start(self).await?;
            self.known().env = environment::attach(&self.plan, &kafka.bootstrap);
        } else {
            let (kafka, programs) = try_join(engines::start(self), build::programs(&self.plan)).await?;
            self.known().env = environment::attach(&self.plan, &kafka.bootstrap);
            services::start(self, &programs, &kafka).await?;
            web::start(self, &programs).await?;
            gateway::start(self, &programs).await?;
            observe::start(self, kafka.tells_metrics).await?;
        }
        step("all", "ready", started);
        self.known().ready = true;
        self.changed.notify_one();
        Ok(())
    }

    /// Observers, gateway, services, engines: whoever is used ends after its users.
    pub async fn take_down(&self) {
        let handles = self.handles();
        for layer in [Layer::Observers, Layer::Gateway, Layer::Services, Layer::Engines] {
            let leaving = handles.iter().filter(|handle| Layer::of(&handle.name) == layer);
            join_all(leaving.map(Handle::stop)).await;
        }
    }

    /// Keeps a unit and waits until it is ready.
    pub async fn start(&self, unit: Unit) -> Result<()> {
        let started = Instant::now();
        let (name, port) = (unit.name.clone(), unit.port);
        let handle = keeper::keep(unit, Arc::clone(&self.changed));
        self.adopt(handle.clone());
        handle.start().await?;
        step(&name, &format!("ready on 127.0.0.1:{port}"), started);
        Ok(())
    }

    pub async fn start_all(&self, units: impl IntoIterator<Item = Unit>) -> Result<()> {
        try_join_all(units.into_iter().map(|unit| self.start(unit))).await?;
        Ok(())
    }

    pub fn adopt(&self, handle: Handle) {
        self.known().handles.push(handle);
    }

    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub fn named(&self, name: &str) -> Result<Handle> {
        let handles = self.handles();
        let names = || handles.iter().map(|handle| handle.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = handles.iter().find(|handle| handle.name == name).cloned();
        found.with_context(|| format!("`{name}` is none of {}", names()))
    }

    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.handles().iter().map(Handle::entry).collect();
        entries.sort_by_key(|entry| (rank(&entry.name), entry.name.clone()));
        entries
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        self.known().env.clone()
    }

    /// Writes the state file after every change, until the stack is gone.
    pub async fn record(&self) -> Result<()> {
        loop {
            self.write_state()?;
            self.changed.notified().await;
        }
    }

    pub fn write_state(&self) -> Result<()> {
        let supervisor = std::process::id();
        let (env, ready) = {
            let known = self.known();
            (known.env.clone(), known.ready && !self.leave.is_cancelled())
        };
        let processes = self.entries().into_iter().map(Recorded::of).collect();
        let born = process::birth(supervisor).unwrap_or_default();
        StateFile { supervisor, born, ready, env, processes }.write(&self.plan.place)
    }

    fn handles(&self) -> Vec<Handle> {
        self.known().handles.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(PartialEq, Eq)]
enum Layer {
    Observers,
    Gateway,
    Services,
    Engines,
}

impl Layer {
    fn of(name: &str) -> Self {
        match name {
            name if observe::NAMES.contains(&name) => Self::Observers,
            "gateway" | web::NAME => Self::Gateway,
            name if name.contains("-service-") => Self::Services,
            _ => Self::Engines,
        }
    }
}

/// The order of `status`.
fn rank(name: &str) -> usize {
    let order = ["mysql", "mongodb", "redis", "kafka", "gateway", web::NAME, "user", "friend", "chat"];
    let found = order.iter().position(|part| name.starts_with(part) && !observe::NAMES.contains(&name));
    found.unwrap_or(order.len())
}
