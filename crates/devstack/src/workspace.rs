//! Where things are: the workspace, the folder of one stack, the engines that are kept for all of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

/// One stack's folder in a workspace.
#[derive(Clone, Debug)]
pub struct Place {
    pub root: PathBuf,
    dir: PathBuf,
}

/// `sun_path` holds 108 bytes; a clone may lie deeper than that.
const LONGEST_SOCKET_PATH: usize = 100;

impl Place {
    pub fn of_workspace() -> Result<Self> {
        let here = env::current_dir()?;
        let root = here
            .ancestors()
            .find(|dir| dir.join("crates/devstack/Cargo.toml").is_file())
            .context("run this inside the repository")?;
        Ok(Self { root: root.into(), dir: root.join(".stack") })
    }

    /// A place beside it, so that tests run while a stack is up.
    pub fn for_tests(&self) -> Self {
        Self { root: self.root.clone(), dir: self.dir.join("test") }
    }

    pub fn create(&self) -> Result<()> {
        for dir in [self.dir.join("logs"), self.dir.join("data"), self.dir.join("bin")] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        Ok(())
    }

    /// Everything that a stack leaves behind.
    pub fn wipe(&self) -> Result<()> {
        // What ran here is not known any more either, if it ever was.
        let _ = fs::remove_file(self.state_file());
        ["logs", "data", "bin"].iter().try_for_each(|name| delete(&self.dir.join(name)))
    }

    /// Logs tell of one run, but for the one that is being written already.
    pub fn empty_logs(&self, but: &str) -> Result<()> {
        let kept = self.log(but);
        for log in fs::read_dir(self.dir.join("logs"))?.flatten().filter(|log| log.path() != kept) {
            fs::remove_file(log.path())?;
        }
        Ok(())
    }

    pub fn wipe_data(&self) -> Result<()> {
        delete(&self.dir.join("data"))?;
        self.create()
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    pub fn programs(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    pub fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        let beside = self.dir.join(format!("{name}.sock"));
        if beside.as_os_str().len() <= LONGEST_SOCKET_PATH {
            return beside;
        }
        env::temp_dir().join(format!("bigtech-chat-{:016x}-{name}.sock", self.number()))
    }

    /// A number of this folder's own, the same every time.
    pub fn number(&self) -> u64 {
        digest(self.dir.as_os_str())
    }
}

fn delete(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))?;
    }
    Ok(())
}

/// Where engines that are no system packages are kept, for every clone of this user.
pub fn engine_cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    let cache = base.join("bigtech-chat/engines");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache)
}

/// Makes a folder beside its place and moves it there at once: two first starts do not disturb each other.
pub async fn keep(place: &Path, make: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let draft = place.with_extension(format!("new-{}", std::process::id()));
    let made = make(&draft).await;
    if made.is_err() || fs::rename(&draft, place).is_err() {
        // Nothing whole, or another start was first.
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

pub fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Copies a program where a later build cannot replace it under a running stack.
pub fn keep_program(from: &Path, to: &Path) -> Result<()> {
    let source = fs::metadata(from).with_context(|| format!("no program {}", from.display()))?;
    let kept = fs::metadata(to);
    if let Ok(kept) = kept {
        if kept.len() == source.len() && kept.modified()? >= source.modified()? {
            return Ok(());
        }
        // A running program cannot be written to, but its name can be given away.
        fs::remove_file(to)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
