//! Finds the programs that the stack needs, and installs those that are missing.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::terminal::with_progress;

/// Folders for servers, which the PATH of a plain user does not contain on Debian.
const SERVER_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The first of `names` that exists.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from)).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A program, by its possible names, and the Debian package that contains it.
#[derive(Clone, Copy)]
pub struct Dependency {
    pub names: &'static [&'static str],
    pub package: &'static str,
}

pub const MYSQL: Dependency = Dependency { names: &["mariadbd", "mysqld"], package: "mariadb-server" };
pub const REDIS: Dependency = Dependency { names: &["redis-server", "valkey-server"], package: "redis-server" };
pub const PYTHON: Dependency = Dependency { names: &["python3"], package: "python3-pip" };
pub const JAVA: Dependency = Dependency { names: &["java"], package: "default-jre-headless" };
pub const MAVEN: Dependency = Dependency { names: &["mvn"], package: "maven" };
/// The package depends on Chromium.
pub const CHROMEDRIVER: Dependency = Dependency { names: &["chromedriver"], package: "chromium-driver" };

impl Dependency {
    pub fn find(&self) -> Option<PathBuf> {
        find(self.names)
    }

    pub fn path(&self) -> Result<PathBuf> {
        self.find().with_context(|| format!("{} is not installed (Debian: {})", self.names[0], self.package))
    }
}

/// Installs the dependencies that are missing.
pub async fn ensure(dependencies: &[Dependency]) -> Result<()> {
    let missing: Vec<_> = dependencies.iter().filter(|one| one.find().is_none()).map(|one| one.package).collect();
    install(&missing).await
}

/// Installs Debian packages, which takes root and apt-get.
///
/// # Errors
/// Names the packages to install where there is no apt-get, or where the user is not root.
pub async fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let Some(apt) = find(&["apt-get"]) else {
        bail!("not installed: {list} (Debian's names); install them with the system's package manager and try again");
    };
    if !is_root()? {
        bail!("not installed: {list}; install them and try again: sudo apt-get install -y {list}");
    }
    with_progress("apt-get", &format!("installing as root: {list}"), async {
        if apt_get(&apt, &["install", "-y", "--no-install-recommends"], packages).await.is_err() {
            apt_get(&apt, &["update"], &[]).await?;
            apt_get(&apt, &["install", "-y", "--no-install-recommends"], packages).await?;
        }
        Ok(())
    })
    .await
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

/// The last line of a program's output that is not blank, which usually is the reason of a failure.
pub fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no reason").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_that_exists_is_found() {
        assert_eq!(find(&["no-such-program", "sh"]).unwrap().file_name().unwrap(), "sh");
        assert_eq!(find(&["no-such-program"]), None);
    }

    #[test]
    fn the_last_line_that_is_not_blank_is_the_reason() {
        assert_eq!(last_line(b"first\nE: no such package\n\n"), "E: no such package");
        assert_eq!(last_line(b""), "it printed no reason");
    }
}
