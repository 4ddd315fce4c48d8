//! Builds the workspace with cargo and copies the programs for this stack.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::time::{Instant, interval_at};

use crate::plan::Plan;
use crate::service::Service;
use crate::stack_dir::StackDir;
use crate::terminal::{print_about, print_raw, print_step, without_escapes};

/// Paths of programs by name.
pub type Binaries = BTreeMap<String, PathBuf>;

/// The program of this crate, which also is the gateway and the file server.
pub const DEVSTACK: &str = "devstack";

/// Variables that `cargo run` sets. For another cargo they would be changes to build scripts that read them (ring's
/// does), which would then run again, and everything that depends on them would be compiled again.
const CARGO_RUN_PREFIXES: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A message of cargo about an executable that is built.
#[derive(Deserialize)]
pub struct Executable {
    package_id: String,
    pub target: CargoTarget,
    #[serde(rename = "executable")]
    pub path: PathBuf,
}

#[derive(Deserialize)]
pub struct CargoTarget {
    pub name: String,
}

impl Executable {
    /// The name in a package id, which is `path+file:///folder/name#version` or `path+file:///folder#name@version`.
    pub fn package(&self) -> &str {
        let (path, version) = self.package_id.split_once('#').unwrap_or((&self.package_id, ""));
        match version.split_once('@') {
            Some((name, _)) => name,
            None => path.rsplit('/').next().unwrap_or(path),
        }
    }
}

pub async fn binaries(plan: &Plan) -> Result<Binaries> {
    let started = Instant::now();
    let (status, executables) = build(build_command(plan)).await?;
    if !status.success() {
        bail!("the services do not build; cargo's errors are above");
    }
    let mut binaries = Binaries::new();
    for name in Service::ALL.map(Service::name).into_iter().chain([DEVSTACK]) {
        let built = executables.iter().find(|executable| executable.target.name == name);
        let built = built.with_context(|| format!("the workspace has no program {name}"))?;
        binaries.insert(name.into(), plan.dir.copy_program(&built.path, name)?);
    }
    let profile = if plan.options.release { "release" } else { "debug" };
    print_step("build", &format!("services ({profile})"), started);
    Ok(binaries)
}

/// Builds all programs of the workspace at once, as `cargo build --workspace` does. Cargo chooses the features of
/// dependencies for the packages of one command together: after `cargo build -p one-service` some of them would have
/// other features and be compiled again.
fn build_command(plan: &Plan) -> Command {
    let mut cargo = cargo(&plan.dir);
    cargo
        .args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"])
        .args(plan.options.release.then_some("--release"))
        // Other components print at the same time, so cargo's progress bar becomes a line now and then.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "120")
        .stderr(Stdio::piped());
    cargo
}

/// Cargo in the workspace, as if it were started in a shell.
pub fn cargo(dir: &StackDir) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if CARGO_RUN_PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    if env::var_os("CARGO_TERM_COLOR").is_none() && io::stderr().is_terminal() {
        // Its output passes through a pipe.
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    cargo.current_dir(&dir.root).stdin(Stdio::null()).kill_on_drop(true);
    cargo
}

/// Runs a build with JSON messages and returns the executables. Reports its progress if its error output is piped.
pub async fn build(mut cargo: Command) -> Result<(ExitStatus, Vec<Executable>)> {
    let mut cargo = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let progress = cargo.stderr.take().map(|stderr| tokio::spawn(report_progress(stderr)));
    let mut lines = BufReader::new(cargo.stdout.take().context("cargo has no output")?).lines();
    let mut executables = Vec::new();
    while let Some(line) = lines.next_line().await? {
        executables.extend(serde_json::from_str::<Executable>(&line));
    }
    let status = cargo.wait().await?;
    if let Some(progress) = progress {
        progress.await?;
    }
    Ok((status, executables))
}

/// Prints how far a build is every 10 s, and its warnings and errors as they come.
async fn report_progress(mut stderr: ChildStderr) {
    let started = Instant::now();
    let mut ticks = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    let (mut buffer, mut progress) = (Vec::new(), None);
    loop {
        tokio::select! {
            read = stderr.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            _ = ticks.tick() => if let Some(progress) = &progress {
                print_about("build", &format!("{progress} ({} s)", started.elapsed().as_secs()));
            },
        }
        // A progress bar ends with a carriage return.
        while let Some(end) = buffer.iter().position(|byte| b"\r\n".contains(byte)) {
            let part: Vec<_> = buffer.drain(..=end).collect();
            match Progress::parse(&without_escapes(&String::from_utf8_lossy(&part))) {
                Progress::Bar(bar) => progress = Some(bar),
                Progress::Status => {}
                Progress::Message => print_raw(&part),
            }
        }
    }
}

/// A part of cargo's error output.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// The progress bar, `Building [===>  ] 12/431: serde, tokio`, as a sentence.
    Bar(String),
    /// A line that the progress bar makes redundant.
    Status,
    Message,
}

/// The first words of lines about single crates and about the build itself.
const STATUS_WORDS: [&str; 7] =
    ["Compiling ", "Downloading ", "Downloaded ", "Updating ", "Locking ", "Fresh ", "Finished "];

impl Progress {
    fn parse(part: &str) -> Self {
        let words = part.trim();
        if let Some((_, progress)) = words.strip_prefix("Building [").and_then(|bar| bar.split_once("] ")) {
            let (count, crates) = progress.split_once(": ").unwrap_or((progress, ""));
            let crates = if crates.is_empty() { String::new() } else { format!(": {crates}") };
            return Self::Bar(format!("compiled {}{crates}", count.replace('/', " of ")));
        }
        let is_cleared_bar = words.is_empty() && part.ends_with('\r');
        if is_cleared_bar || STATUS_WORDS.iter().any(|word| words.starts_with(word)) {
            return Self::Status;
        }
        Self::Message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_bar_becomes_a_sentence_and_messages_stay() {
        let bar = Progress::parse("    Building [===>      ] 12/431: serde, tokio(build)    \r");
        assert_eq!(bar, Progress::Bar("compiled 12 of 431: serde, tokio(build)".into()));
        assert_eq!(Progress::parse("   Compiling serde v1.0.0"), Progress::Status);
        assert_eq!(Progress::parse("error[E0308]: mismatched types"), Progress::Message);
        assert_eq!(Progress::parse("  --> src/main.rs:1:1\n"), Progress::Message);
    }

    #[test]
    fn both_forms_of_a_package_id_name_the_package() {
        let package = |id: &str| {
            let target = CargoTarget { name: String::new() };
            Executable { package_id: id.into(), target, path: PathBuf::new() }.package().to_owned()
        };
        assert_eq!(package("path+file:///x/services/chat-service#0.1.0"), "chat-service");
        assert_eq!(package("path+file:///x/tests/config#config-tests@0.1.0"), "config-tests");
    }
}
