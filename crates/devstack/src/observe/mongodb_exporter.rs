//! Percona's exporter for MongoDB, built with Go, because Debian's is too old for this mongod.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::cache::engine_cache;
use crate::install::{self, last_line};
use crate::terminal::with_progress;

const MODULE: &str = "github.com/percona/mongodb_exporter";
const VERSION: &str = "v0.43.1";

pub async fn program() -> Result<PathBuf> {
    if let Some(found) = install::find(&["mongodb_exporter"]) {
        return Ok(found);
    }
    let program = engine_cache()?.join(format!("mongodb_exporter-{VERSION}"));
    if !program.exists() {
        let activity = format!("building {MODULE}@{VERSION} with Go");
        with_progress("mongodb-exporter", &activity, build(&program)).await?;
    }
    Ok(program)
}

/// Builds in a folder beside the program and renames the result, so that concurrent starts do not disturb each other.
async fn build(program: &Path) -> Result<()> {
    let Some(go) = install::find(&["go"]) else {
        bail!("mongodb_exporter needs Go 1.23 or newer, which is not installed; a mongodb_exporter on PATH also works");
    };
    let folder = program.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    // A module that requires the exporter. `go install` also asks the proxy for a list of versions, which some proxies do
    // not have.
    fs::write(folder.join("go.mod"), format!("module exporter\n\ngo 1.23\n\nrequire {MODULE} {VERSION}\n"))?;
    let output = Command::new(go)
        .args(["build", "-mod=mod", "-o", "exporter", MODULE])
        .current_dir(&folder)
        .kill_on_drop(true)
        .output()
        .await?;
    let built = if output.status.success() { fs::rename(folder.join("exporter"), program) } else { Ok(()) };
    let _ = fs::remove_dir_all(&folder);
    if !output.status.success() {
        bail!("Go cannot build {MODULE}@{VERSION}: {}", last_line(&output.stderr));
    }
    Ok(built?)
}
