//! The directory of one stack: data, logs, programs and sockets.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

use crate::cache::digest;

#[derive(Clone, Debug)]
pub struct StackDir {
    /// The workspace.
    pub root: PathBuf,
    dir: PathBuf,
}

/// `sun_path` holds 108 bytes, and the path of a clone may be longer.
const MAX_SOCKET_PATH: usize = 100;

impl StackDir {
    pub fn of_workspace() -> Result<Self> {
        let current = env::current_dir()?;
        let root = current
            .ancestors()
            .find(|dir| dir.join("crates/devstack/Cargo.toml").is_file())
            .context("run this inside the repository")?;
        Ok(Self { root: root.into(), dir: root.join(".stack") })
    }

    /// A directory of its own, so that tests run while a stack is up.
    pub fn for_tests(&self) -> Self {
        Self { root: self.root.clone(), dir: self.dir.join("test") }
    }

    pub fn create(&self) -> Result<()> {
        for dir in [self.logs(), self.dir.join("data"), self.disks(), self.programs()] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        Ok(())
    }

    /// Deletes everything but the lock.
    pub fn wipe(&self) -> Result<()> {
        // It does not exist if no stack has ever run.
        let _ = fs::remove_file(self.state_file());
        ["logs", "data", "bin"].iter().try_for_each(|name| delete(&self.dir.join(name)))
    }

    /// Deletes the logs of the last run, except the log `kept`, which is being written.
    pub fn delete_logs_except(&self, kept: &str) -> Result<()> {
        let kept = self.log(kept);
        for log in fs::read_dir(self.logs())?.flatten().filter(|log| log.path() != kept) {
            fs::remove_file(log.path())?;
        }
        Ok(())
    }

    pub fn wipe_data(&self) -> Result<()> {
        delete(&self.dir.join("data"))?;
        self.create()
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    /// The folder in which a file such as `mysql.full` fills the disk of an engine, with `--drill`.
    pub fn disks(&self) -> PathBuf {
        self.data("disks")
    }

    /// The file that exists from the beginning of a restore to its end.
    pub fn restoring(&self) -> PathBuf {
        self.data("restoring")
    }

    pub fn programs(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        let socket = self.dir.join(format!("{name}.sock"));
        if socket.as_os_str().len() <= MAX_SOCKET_PATH {
            return socket;
        }
        env::temp_dir().join(format!("bigtech-chat-{:016x}-{name}.sock", self.id()))
    }

    /// A number that depends on the path only.
    pub fn id(&self) -> u64 {
        digest(self.dir.as_os_str().as_bytes())
    }

    /// Copies a program into the directory, so that a later build does not replace it while the stack runs.
    pub fn copy_program(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let to = self.programs().join(name);
        let source = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
        if let Ok(copy) = fs::metadata(&to) {
            if copy.len() == source.len() && copy.modified()? >= source.modified()? {
                return Ok(to);
            }
            // The file of a running program cannot be written, but it can be unlinked.
            fs::remove_file(&to)?;
        }
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(to)
    }

    /// Links a program of the directory under another name.
    pub fn link_program(&self, to: &Path, name: &str) -> Result<PathBuf> {
        let link = self.programs().join(name);
        // It does not exist before the first start.
        let _ = fs::remove_file(&link);
        symlink(to, &link).with_context(|| format!("cannot create {}", link.display()))?;
        Ok(link)
    }
}

fn delete(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))?;
    }
    Ok(())
}
