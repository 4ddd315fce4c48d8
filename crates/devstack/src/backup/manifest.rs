//! The manifest of a backup: what it consists of. It is written last and, with a passphrase, encrypted too, so that nobody without
//! the passphrase can replace a file or mix two backups.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::folder::open_file;
use super::seal::{Fingerprint, Passphrase, Sealer, unseal};

/// The version of the format that this program writes and reads.
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";

/// A manifest has less than a kilobyte.
const MAX_MANIFEST: u64 = 64 * 1024;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Every change that was acknowledged before is in the backup.
    pub at: DateTime<Utc>,
    /// The version of this program.
    pub devstack: String,
    pub mysql: Part,
    pub mongodb: Part,
    /// The epoch of the store, if one had begun.
    pub epoch: Option<String>,
}

/// The dump of one store.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The version of the server.
    pub version: String,
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
}

impl Manifest {
    pub fn new(at: DateTime<Utc>, mysql: Part, mongodb: Part, epoch: Option<String>) -> Self {
        Self { format: FORMAT, at, devstack: env!("CARGO_PKG_VERSION").into(), mysql, mongodb, epoch }
    }

    pub fn write(&self, backup: &Path, passphrase: Option<&Passphrase>) -> Result<()> {
        let mut file = Sealer::create(&backup.join(file_name(MANIFEST, passphrase)), passphrase)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.finish()?;
        Ok(())
    }

    /// # Errors
    /// Fails if there is no manifest, if the passphrase is another one or missing, and for another format.
    pub fn read(backup: &Path, passphrase: Option<&Passphrase>) -> Result<Self> {
        let path = backup.join(file_name(MANIFEST, passphrase));
        if !path.exists() {
            match passphrase {
                None if backup.join(format!("{MANIFEST}.age")).exists() => {
                    bail!("{} is encrypted: give --passphrase-file", backup.display())
                }
                Some(_) if backup.join(MANIFEST).exists() => {
                    bail!("{} is not encrypted: leave out --passphrase-file if this is expected", backup.display())
                }
                _ => bail!("{} has no manifest: it is no complete backup", backup.display()),
            }
        }
        let mut text = Vec::new();
        unseal(open_file(&path)?, passphrase)?.take(MAX_MANIFEST).read_to_end(&mut text)?;
        let manifest: Self = serde_json::from_slice(&text).context("the manifest is damaged")?;
        if manifest.format != FORMAT {
            bail!("the backup has the format {}, and this program reads {FORMAT}", manifest.format);
        }
        Ok(manifest)
    }
}

impl Part {
    /// Opens the dump and compares it with the manifest.
    ///
    /// # Errors
    /// Fails if the file is missing, cut off or changed.
    pub fn open(&self, backup: &Path, name: &str, passphrase: Option<&Passphrase>) -> Result<File> {
        let path = backup.join(file_name(name, passphrase));
        let mut file = open_file(&path)?;
        if Fingerprint::of(&file)? != self.fingerprint {
            bail!("{} is not the file that the manifest describes: it was cut off or changed", path.display());
        }
        file.rewind()?;
        Ok(file)
    }
}

/// The name of a file; an encrypted one has the ending of the tool `age`.
pub fn file_name(name: &str, passphrase: Option<&Passphrase>) -> String {
    match passphrase {
        Some(_) => format!("{name}.age"),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    const NAME: &str = "mysql.sql.gz";

    /// Writes a backup of one file with its manifest.
    fn backup(name: &str, passphrase: Option<&Passphrase>) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("devstack-manifest-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let mut file = Sealer::create(&folder.join(file_name(NAME, passphrase)), passphrase).unwrap();
        file.write_all(b"the dump").unwrap();
        let part = || Part { version: "8".into(), fingerprint: Fingerprint { bytes: 0, sha256: String::new() } };
        let mysql = Part { fingerprint: file.finish().unwrap(), ..part() };
        Manifest::new(Utc::now(), mysql, part(), None).write(&folder, passphrase).unwrap();
        folder
    }

    fn passphrase(text: &str) -> Passphrase {
        let file = std::env::temp_dir().join(format!("devstack-{}-{}", text.len(), std::process::id()));
        fs::write(&file, text).unwrap();
        let passphrase = Passphrase::of_file(&file).unwrap();
        fs::remove_file(file).unwrap();
        passphrase
    }

    #[test]
    fn a_file_that_was_cut_off_changed_or_replaced_by_a_link_is_refused() {
        let folder = backup("damage", None);
        let (file, mysql) = (folder.join(NAME), Manifest::read(&folder, None).unwrap().mysql);
        let opened = || mysql.open(&folder, NAME, None);
        assert!(opened().is_ok());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for damaged in ["the dum", "the Dump", "the dump and more"] {
            fs::write(&file, damaged).unwrap();
            assert!(opened().is_err(), "{damaged}");
        }
        fs::write(folder.join("elsewhere"), "the dump").unwrap();
        fs::remove_file(&file).unwrap();
        assert!(opened().is_err(), "missing");
        symlink(folder.join("elsewhere"), &file).unwrap();
        assert!(opened().is_err(), "a link");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_encrypted_backup_is_read_with_its_passphrase_only() {
        let (right, wrong) = (passphrase("sixteen letters!"), passphrase("seventeen letters"));
        let folder = backup("passphrase", Some(&right));
        let manifest = Manifest::read(&folder, Some(&right)).unwrap();
        let mut dump = String::new();
        let file = manifest.mysql.open(&folder, NAME, Some(&right)).unwrap();
        unseal(file, Some(&right)).unwrap().read_to_string(&mut dump).unwrap();
        assert_eq!(dump, "the dump");
        assert!(Manifest::read(&folder, Some(&wrong)).is_err() && Manifest::read(&folder, None).is_err());
        let plain = backup("plain", None);
        assert!(Manifest::read(&plain, Some(&right)).is_err(), "a passphrase asks for an encrypted backup");
        [folder, plain].iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    }
}
