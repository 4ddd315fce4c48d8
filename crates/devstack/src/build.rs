//! Builds the services with cargo and keeps the programs for this stack.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use crate::report::step;
use crate::services::Service;
use crate::stack::Plan;
use crate::workspace::{Place, keep_program};

/// Programs by name, where they stay as they are while the stack runs.
pub type Programs = BTreeMap<String, PathBuf>;

/// What `cargo run` tells the program that it runs. Passed on to another cargo, it looks like a change to build scripts
/// that read it (ring's does), and they and all that needs them are built again.
const OF_CARGO_RUN: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// This program, which is the gateway too.
pub const DEVSTACK: &str = "devstack";

/// One line of what cargo reports.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

pub async fn programs(plan: &Plan) -> Result<Programs> {
    let started = Instant::now();
    let built = cargo_build(plan).await?;
    let wanted = Service::ALL.map(Service::name).into_iter().chain([DEVSTACK]);
    let mut programs = Programs::new();
    for name in wanted {
        let from = built.get(name).with_context(|| format!("the workspace builds no {name}"))?;
        let kept = plan.place.program(name);
        keep_program(from, &kept)?;
        programs.insert(name.into(), kept);
    }
    let profile = if plan.options.release { "release" } else { "debug" };
    step("build", &format!("services ({profile})"), started);
    Ok(programs)
}

/// Cargo in the workspace, as if it was started by hand.
pub fn cargo(place: &Place) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if OF_CARGO_RUN.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(&place.root).stdin(Stdio::null());
    cargo
}

/// All programs of the workspace at once: building some of them alone would choose other features of their
/// dependencies and compile those again.
async fn cargo_build(plan: &Plan) -> Result<Programs> {
    let mut cargo = cargo(&plan.place)
        .args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"])
        .args(plan.options.release.then_some("--release"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start cargo")?;
    let mut lines = BufReader::new(cargo.stdout.take().context("cargo says nothing")?).lines();
    let mut programs = Programs::new();
    while let Some(line) = lines.next_line().await? {
        let message = serde_json::from_str(&line);
        if let Ok(Message { target: Some(target), executable: Some(executable) }) = message {
            programs.insert(target.name, executable);
        }
    }
    if !cargo.wait().await?.success() {
        bail!("the services do not build; cargo says above why");
    }
    Ok(programs)
}
