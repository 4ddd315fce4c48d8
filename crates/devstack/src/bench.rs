//! `cargo stack bench`: builds the benchmark of tests/load with optimizations and becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

use anyhow::{Context, Result, bail};

use crate::build::{build, cargo};
use crate::stack_dir::StackDir;
use crate::state::{ProcessStatus, StateFile};
use crate::{control, terminal};

const BENCHMARK: &str = "load";

/// Replaces this process by the benchmark, so that signals and its exit code are its own. Returns only if it cannot.
pub async fn run(dir: &StackDir, args: &[OsString]) -> Result<ExitCode> {
    let mut cargo = cargo(dir);
    cargo.args(["build", "--release", "--package", BENCHMARK, "--message-format=json-render-diagnostics"]);
    let (status, executables) = build(cargo).await?;
    if !status.success() {
        bail!("the benchmark does not build; cargo's errors are above");
    }
    let built = executables.iter().find(|executable| executable.target.name == BENCHMARK);
    let built = built.context("the workspace has no benchmark")?;
    let mut benchmark = process::Command::new(&built.path);
    benchmark.args(args);
    // Without a stack, the arguments have to name a system; the benchmark tells so.
    if let Ok(state) = StateFile::read_ready(dir) {
        benchmark.envs(&state.env).env("STACK_PROCESSES", names_and_pids(&control::processes(dir).await));
    }
    let error = benchmark.exec();
    terminal::print_error(&format!("cannot start {}: {error}", built.path.display()));
    Ok(ExitCode::FAILURE)
}

/// `user-service-1=4711,mysql=4712`
fn names_and_pids(processes: &[ProcessStatus]) -> String {
    let running = processes.iter().filter_map(|process| Some(format!("{}={}", process.name, process.pid?)));
    running.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_processes_are_named() {
        let process = |name: &str, pid| ProcessStatus { name: name.into(), pid, ..ProcessStatus::default() };
        let processes = [process("mysql", Some(7)), process("chat-service-1", None), process("kafka-1", Some(9))];
        assert_eq!(names_and_pids(&processes), "mysql=7,kafka-1=9");
    }
}
