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
