//! Finds the programs that the stack needs, and installs those that are missing.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::report::say;

/// Where Debian keeps servers, which a plain user's PATH leaves out.
const SERVER_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The first of `names` that is there.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from)).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A program, and the Debian package that has it.
#[derive(Clone, Copy)]
pub struct Needed {
    pub names: &'static [&'static str],
    pub package: &'static str,
}

pub const MYSQL: Needed = Needed { names: &["mariadbd", "mysqld"], package: "mariadb-server" };
pub const REDIS: Needed = Needed { names: &["redis-server", "valkey-server"], package: "redis-server" };
pub const PYTHON: Needed = Needed { names: &["python3"], package: "python3-pip" };
pub const JAVA: Needed = Needed { names: &["java"], package: "default-jre-headless" };
pub const MAVEN: Needed = Needed { names: &["mvn"], package: "maven" };
/// Comes with Chromium itself.
pub const CHROMEDRIVER: Needed = Needed { names: &["chromedriver"], package: "chromium-driver" };

impl Needed {
    pub fn find(&self) -> Option<PathBuf> {
        find(self.names)
    }

    pub fn path(&self) -> Result<PathBuf> {
        self.find().with_context(|| format!("{} is not installed (Debian: {})", self.names[0], self.package))
    }
}

/// Installs what is missing of `needed` in one go.
pub async fn all(needed: &[Needed]) -> Result<()> {
    let missing: Vec<_> = needed.iter().filter(|one| one.find().is_none()).map(|one| one.package).collect();
    packages(&missing).await
}

/// Installs Debian packages, which takes root and apt-get; else says what to install.
pub async fn packages(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let Some(apt) = find(&["apt-get"]) else {
        bail!("missing here: what Debian calls {list}; install it with your system's package manager and try again");
    };
    if !is_root()? {
        bail!("missing here: {list}. Install it and try again: sudo apt-get install -y {list}");
    }
    say(&format!("  Installing with apt-get, as root: {list}"));
    if apt_get(&apt, &["install", "-y", "--no-install-recommends"], packages).await.is_err() {
        apt_get(&apt, &["update"], &[]).await?;
        apt_get(&apt, &["install", "-y", "--no-install-recommends"], packages).await?;
    }
    Ok(())
}

async fn apt_get(apt: &Path, args: &[&str], packages: &[&str]) -> Result<()> {
    let output = Command::new(apt)
        .args(["-q", "-o", "Acquire::http::Timeout=20", "-o", "DPkg::Lock::Timeout=120"])
        .args(args)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start apt-get")?;
    if !output.status.success() {
        bail!("apt-get {} {} failed: {}", args[0], packages.join(" "), last_line(&output.stderr));
    }
    Ok(())
}

pub fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// What a program said last, usually the reason.
pub fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_that_is_there_is_found() {
        assert_eq!(find(&["no-such-program", "sh"]).unwrap().file_name().unwrap(), "sh");
        assert_eq!(find(&["no-such-program"]), None);
    }

    #[test]
    fn the_last_line_that_says_something_is_the_reason() {
        assert_eq!(last_line(b"first\nE: no such package\n\n"), "E: no such package");
        assert_eq!(last_line(b""), "it gave no reason");
    }
}
