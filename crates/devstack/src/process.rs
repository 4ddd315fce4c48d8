//! Child processes: starting, identifying and ending them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::install;

/// A program with its arguments, environment and working directory.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    dir: PathBuf,
}

impl Launch {
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), dir: dir.into(), ..Self::default() }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the program and appends its output to `log`.
    pub fn spawn(&self, log: &Path) -> Result<Child> {
        self.command(log)?.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Runs the program to its end.
    pub async fn run(&self, log: &Path) -> Result<()> {
        let status = self.command(log)?.kill_on_drop(true).status().await;
        let status = status.with_context(|| format!("cannot start {}", self.program.display()))?;
        if !status.success() {
            bail!("{} failed ({status}); its log: {}", self.program.display(), log.display());
        }
        Ok(())
    }

    fn command(&self, log: &Path) -> Result<Command> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = end_with_parent(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal signals the whole process group; the supervisor stops its children in order.
            .process_group(0);
        Ok(command)
    }
}

/// With `setpriv` (part of every Debian), the kernel ends the child when this process ends, even by SIGKILL.
fn end_with_parent(program: &Path) -> Command {
    let Some(setpriv) = install::find(&["setpriv"]) else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Whether a process has opened its port: the probe of a proxy or a file server, which has no health check.
pub async fn listens(port: u16) -> Result<()> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(())
}

/// Sends SIGTERM, and SIGKILL if the process has not ended within `grace`.
pub async fn end(child: &mut Child, grace: Duration) {
    let Some(pid) = child.id() else { return };
    signal(pid, Signal::SIGTERM);
    if timeout(grace, child.wait()).await.is_err() {
        // The only failure is that the process has ended meanwhile.
        let _ = child.kill().await;
    }
}

pub fn signal(pid: u32, signal: Signal) {
    // The only failure is that the process has ended.
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// The start time of a process in clock ticks since boot. A pid is reused, but not together with its start time.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may contain spaces. After it, the state is the 3rd field and the start time the 22nd.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Ends processes, given by pid and start time, whose supervisor is gone. A process with another start time is left
/// alone: its pid was reused.
pub async fn end_orphans(orphans: &[(u32, u64)]) {
    let alive = || orphans.iter().filter(|&&(pid, started)| start_time(pid) == Some(started)).map(|&(pid, _)| pid);
    for pid in alive() {
        signal(pid, Signal::SIGTERM);
    }
    for _ in 0..100 {
        if alive().next().is_none() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    for pid in alive() {
        signal(pid, Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_a_start_time_and_an_unused_pid_has_none() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }

    #[tokio::test]
    async fn an_orphan_is_ended_and_a_process_with_a_reused_pid_is_not() {
        let mut orphan = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut reused = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let started = start_time(orphan.id()).unwrap();

        end_orphans(&[(orphan.id(), started), (reused.id(), u64::MAX)]).await;

        assert!(!orphan.wait().unwrap().success());
        assert!(reused.try_wait().unwrap().is_none());
        reused.kill().unwrap();
        reused.wait().unwrap();
    }
}
