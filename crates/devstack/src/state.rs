//! What is known about a stack from outside: the state file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process::birth;
use crate::workspace::Place;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Starting,
    Ready,
    #[default]
    Stopped,
    Failed,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// One line of `status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub pid: Option<u32>,
    pub port: u16,
    pub state: Phase,
    pub log: PathBuf,
    /// Why it failed.
    #[serde(skip)]
    pub failure: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct StateFile {
    pub supervisor: u32,
    pub born: u64,
    /// Everything is up.
    pub ready: bool,
    /// What `cargo stack env` prints.
    pub env: BTreeMap<String, String>,
    pub processes: Vec<Recorded>,
}

#[derive(Serialize, Deserialize)]
pub struct Recorded {
    #[serde(flatten)]
    pub entry: Entry,
    pub born: Option<u64>,
}

impl Recorded {
    pub fn of(entry: Entry) -> Self {
        Self { born: entry.pid.and_then(birth), entry }
    }
}

impl StateFile {
    pub fn read(place: &Place) -> Option<Self> {
        serde_json::from_slice(&fs::read(place.state_file()).ok()?).ok()
    }

    /// Replaced in one step: a reader never sees half a file.
    pub fn write(&self, place: &Place) -> Result<()> {
        let file = place.state_file();
        let draft = file.with_extension("json.new");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    pub fn is_supervised(&self) -> bool {
        birth(self.supervisor) == Some(self.born)
    }

    /// Processes with their births, but for those that live inside the supervisor.
    pub fn children(&self) -> Vec<(u32, u64)> {
        let known = self.processes.iter().filter_map(|process| process.entry.pid.zip(process.born));
        known.filter(|&(pid, _)| pid != self.supervisor).collect()
    }
}
