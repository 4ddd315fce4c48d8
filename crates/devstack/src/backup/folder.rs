//! The folder of the backups. A backup is a folder in it, named by its time; one that is not complete has another name.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDateTime, Utc};

/// The form of the names, in which the order of the names is that of the times.
const NAME: &str = "%Y-%m-%dT%H-%M-%S%.3fZ";

/// The end of the hidden name of a folder that is being written or deleted.
const PARTIAL: &str = ".partial";

/// The folder of the backups, in which no other process writes.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// A folder that becomes a backup when it is complete.
pub struct Draft {
    pub path: PathBuf,
    complete: PathBuf,
}

impl Folder {
    /// Creates the folder if it does not exist, and removes what interrupted runs left.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot write to {}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(cannot)?;
        let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(path.join(".lock"));
        let lock = lock.with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another backup is being written to {}", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        for name in folder.names()? {
            let hidden = name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL));
            if hidden.is_some_and(is_name) {
                fs::remove_dir_all(folder.path.join(name))?;
            }
        }
        Ok(folder)
    }

    pub fn begin(&self, at: DateTime<Utc>) -> Result<Draft> {
        let name = at.format(NAME).to_string();
        let draft = Draft { path: self.hidden(&name), complete: self.path.join(name) };
        DirBuilder::new().mode(0o700).create(&draft.path).context("cannot create the folder of the backup")?;
        Ok(draft)
    }

    /// Gives a complete backup its name.
    pub fn complete(&self, draft: Draft) -> Result<PathBuf> {
        File::open(&draft.path)?.sync_all()?;
        fs::rename(&draft.path, &draft.complete)?;
        File::open(&self.path)?.sync_all()?;
        Ok(draft.complete)
    }

    /// Deletes all backups but the newest `keep`, and returns how many were deleted.
    pub fn retain(&self, keep: usize) -> Result<usize> {
        let mut names: Vec<_> = self.names()?.into_iter().filter(|name| is_name(name)).collect();
        names.sort_unstable();
        names.truncate(names.len().saturating_sub(keep));
        for name in &names {
            // An interruption leaves no backup of which a part is deleted.
            fs::rename(self.path.join(name), self.hidden(name))?;
            fs::remove_dir_all(self.hidden(name))?;
        }
        Ok(names.len())
    }

    fn hidden(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}{PARTIAL}"))
    }

    /// The names of folders. A link is none.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }
}

fn is_name(name: &str) -> bool {
    NaiveDateTime::parse_from_str(name, NAME).is_ok()
}

/// Opens a file for reading that must be a file itself, not a link to one.
pub fn open_file(path: &Path) -> Result<File> {
    let missing = || format!("{} is missing: the backup is incomplete", path.display());
    if !fs::symlink_metadata(path).with_context(missing)?.is_file() {
        bail!("{} is not a file", path.display());
    }
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("devstack-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_backup_has_its_name_only_when_it_is_complete() {
        let scratch = Scratch::new("complete");
        let folder = Folder::open(&scratch.0).unwrap();
        let draft = folder.begin(at(0)).unwrap();
        assert_eq!(folder.retain(1).unwrap(), 0, "a draft is no backup");
        drop(folder);
        let left = draft.path;
        let folder = Folder::open(&scratch.0).unwrap();
        assert!(!left.exists(), "the next run removes what an interrupted one left");
        let complete = folder.complete(folder.begin(at(0)).unwrap()).unwrap();
        assert_eq!(complete.file_name().unwrap(), "2027-01-15T08-00-00.000Z");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&complete), mode(&scratch.0)), (0o700, 0o700));
    }

    #[test]
    fn one_process_at_a_time_writes_backups() {
        let scratch = Scratch::new("lock");
        let _folder = Folder::open(&scratch.0).unwrap();
        assert!(Folder::open(&scratch.0).is_err());
    }

    #[test]
    fn the_newest_backups_are_kept_and_nothing_else_is_deleted() {
        let scratch = Scratch::new("retain");
        let folder = Folder::open(&scratch.0).unwrap();
        let made: Vec<_> = (0..4).map(|n| folder.complete(folder.begin(at(n)).unwrap()).unwrap()).collect();
        let (other, link) = (scratch.0.join("notes"), scratch.0.join("2000-01-01T00-00-00.000Z"));
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_eq!(folder.retain(2).unwrap(), 2);
        let exists: Vec<_> = made.iter().map(|backup| backup.exists()).collect();
        assert_eq!(exists, [false, false, true, true]);
        assert!(other.exists() && link.exists());
    }
}
