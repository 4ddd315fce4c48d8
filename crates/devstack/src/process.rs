//! Child processes: how they are started, watched and ended.

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

/// A program and how to call it.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, String)>,
    pub dir: PathBuf,
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

    /// Starts it with its output added to `log`.
    pub fn spawn(&self, log: &Path) -> Result<Child> {
        self.command(log)?.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Runs it to its end.
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
            // Ctrl-C in a terminal reaches a whole process group; the order of stopping is ours to choose.
            .process_group(0);
        Ok(command)
    }
}

/// `setpriv` (in every Debian) asks the kernel to end the child when we are gone, be it by SIGKILL.
fn end_with_parent(program: &Path) -> Command {
    let Some(setpriv) = install::find(&["setpriv"]) else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Whether a process has opened its port: all that can be asked of one that serves others' answers.
pub async fn listens(port: u16) -> Result<()> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(())
}

/// SIGTERM, then SIGKILL to whoever has not ended within `grace`.
pub async fn end(child: &mut Child, grace: Duration) {
    let Some(pid) = child.id() else { return };
    signal(pid, Signal::SIGTERM);
    if timeout(grace, child.wait()).await.is_err() {
        // Neither fails unless it has ended meanwhile, which is what we want.
        let _ = child.kill().await;
    }
}

pub fn signal(pid: u32, signal: Signal) {
    // The only failure is that it has ended.
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// When a process was started, in the kernel's ticks since boot: with the pid, an identity that is not reused.
pub fn birth(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; the fields after it are fixed: state is the 3rd, starttime the 22nd.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Ends processes of a stack whose supervisor is gone. Only those that are still the ones that it started.
pub async fn end_orphans(orphans: &[(u32, u64)]) {
    let alive = || orphans.iter().filter(|&&(pid, born)| birth(pid) == Some(born)).map(|&(pid, _)| pid);
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
    fn a_process_has_a_birth_and_another_pid_none() {
        assert!(birth(std::process::id()).is_some());
        assert_eq!(birth(u32::MAX), None);
    }

    #[tokio::test]
    async fn an_orphan_is_ended_and_a_reused_pid_is_not() {
        let mut ours = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let born = birth(ours.id()).unwrap();

        end_orphans(&[(ours.id(), born), (other.id(), u64::MAX)]).await;

        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
