//! `cargo stack backup` and `cargo stack restore`.
//!
//! MongoDB is read as of one moment, and MySQL as of one a little later. What MongoDB contains refers to rows that are there at that
//! moment already, so nothing of MongoDB is without its row. MySQL may have membership changes whose system messages MongoDB does
//! not have yet, as after a crash between the two; `chat-service epoch --new` has them written again.

mod folder;
mod manifest;
mod mongodb;
mod mysql;
mod restore;
mod seal;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::Utc;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::try_join;
use tokio::time::Instant;

use crate::options::BackupOptions;
use crate::stack_dir::StackDir;
use crate::state::StateFile;
use crate::terminal::{print, print_step};
use folder::Folder;
use manifest::{Manifest, Part, file_name};
use seal::{Passphrase, Sealer};

pub use restore::restore;

/// The files of a backup. No name is ever taken from a manifest.
const MYSQL_FILE: &str = "mysql.sql.gz";
const MONGODB_FILE: &str = "mongodb.bson.gz";

/// The addresses of a running stack.
struct Stores {
    mysql: String,
    mongodb: ::mongodb::Database,
}

impl Stores {
    async fn of(env: &BTreeMap<String, String>) -> Result<Self> {
        let mongodb = mongodb::database(variable(env, "MONGO_URL")?, variable(env, "MONGODB_DB_NAME")?).await?;
        Ok(Self { mysql: variable(env, "MYSQL_ADMIN_URL")?.into(), mongodb })
    }
}

fn variable<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    env.get(name).map(String::as_str).with_context(|| format!("the stack has no {name}"))
}

/// Writes a backup of the running stack.
pub async fn back_up(dir: StackDir, options: BackupOptions) -> Result<()> {
    let dir = if options.test_stack { dir.for_tests() } else { dir };
    let passphrase = options.passphrase_file.as_deref().map(Passphrase::of_file).transpose()?;
    let stores = Stores::of(&StateFile::read_ready(&dir)?.env).await?;
    if dir.restoring().exists() {
        bail!("a restore was interrupted: the stores are incomplete until it is repeated");
    }
    let folder = Folder::open(&options.folder)?;
    let draft = folder.begin(Utc::now())?;
    let written = write(&stores, &draft.path, passphrase.as_ref()).await;
    // A restore that began meanwhile has replaced what was read.
    let kept = written.and_then(|()| if dir.restoring().exists() { bail!("a restore has begun") } else { Ok(()) });
    if let Err(error) = kept {
        // If this fails too, the next backup removes it.
        let _ = fs::remove_dir_all(&draft.path);
        return Err(error.context("no backup was written"));
    }
    let complete = folder.complete(draft)?;
    if let Some(keep) = options.keep {
        let deleted = folder.retain(keep.get())?;
        print(&format!("Kept the newest {keep} backups and deleted {deleted}."));
    }
    print(&format!("The backup is complete: {}", complete.display()));
    Ok(())
}

async fn write(stores: &Stores, draft: &Path, passphrase: Option<&Passphrase>) -> Result<()> {
    let (at, started) = (Utc::now(), Instant::now());
    let create = |name: &str| -> Result<_> {
        let file = Sealer::create(&draft.join(file_name(name, passphrase)), passphrase)?;
        Ok(GzEncoder::new(file, Compression::default()))
    };
    let (mut mysql, mut mongodb) = (create(MYSQL_FILE)?, create(MONGODB_FILE)?);
    let versions = (mysql::version(&stores.mysql).await?, mongodb::version(&stores.mongodb).await?);
    // The order is that of the two moments.
    let snapshot = mongodb::Snapshot::begin(&stores.mongodb).await?;
    let epoch = snapshot.epoch.clone();
    let ((), documents) = try_join(mysql::dump(&stores.mysql, &mut mysql), snapshot.dump(&mut mongodb)).await?;
    let mysql = Part { version: versions.0, fingerprint: mysql.finish()?.finish()? };
    let mongodb = Part { version: versions.1, fingerprint: mongodb.finish()?.finish()? };
    let bytes = (mysql.fingerprint.bytes, mongodb.fingerprint.bytes);
    Manifest::new(at, mysql, mongodb, epoch).write(draft, passphrase)?;
    print_step("mysql", &format!("{} bytes", bytes.0), started);
    print_step("mongodb", &format!("{documents} documents, {} bytes", bytes.1), started);
    Ok(())
}
