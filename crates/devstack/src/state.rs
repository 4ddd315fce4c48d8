//! The state file: what other commands read about a stack.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::start_time;
use crate::stack_dir::StackDir;

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
    pub fn as_str(self) -> &'static str {
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
pub struct ProcessStatus {
    pub name: String,
    pub pid: Option<u32>,
    pub port: u16,
    pub state: Phase,
    pub log: PathBuf,
    /// The reason of `Phase::Failed`.
    #[serde(skip)]
    pub failure: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct StateFile {
    pub supervisor: u32,
    pub start_time: u64,
    /// Every process is ready.
    pub ready: bool,
    /// The variables that `cargo stack env` prints.
    pub env: BTreeMap<String, String>,
    pub processes: Vec<RecordedProcess>,
}

#[derive(Serialize, Deserialize)]
pub struct RecordedProcess {
    #[serde(flatten)]
    pub status: ProcessStatus,
    pub start_time: Option<u64>,
}

impl RecordedProcess {
    pub fn new(status: ProcessStatus) -> Self {
        Self { start_time: status.pid.and_then(start_time), status }
    }
}

impl StateFile {
    pub fn read(dir: &StackDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.state_file()).ok()?).ok()
    }

    /// # Errors
    /// Fails if no stack is running, or if it is not ready yet.
    pub fn read_ready(dir: &StackDir) -> Result<Self> {
        match Self::read(dir) {
            Some(state) if state.is_supervised() && state.ready => Ok(state),
            Some(state) if state.is_supervised() => bail!("the stack is still starting (cargo stack status)"),
            _ => bail!("no stack is running; start it: cargo stack up"),
        }
    }

    /// Replaces the file in one step, so that a reader never sees half of it.
    pub fn write(&self, dir: &StackDir) -> Result<()> {
        let file = dir.state_file();
        let draft = file.with_extension("json.new");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn is_supervised(&self) -> bool {
        start_time(self.supervisor) == Some(self.start_time)
    }

    /// Pids and start times of the processes, without those that run inside the supervisor.
    pub fn children(&self) -> Vec<(u32, u64)> {
        let processes = self.processes.iter().filter_map(|process| process.status.pid.zip(process.start_time));
        processes.filter(|&(pid, _)| pid != self.supervisor).collect()
    }
}
