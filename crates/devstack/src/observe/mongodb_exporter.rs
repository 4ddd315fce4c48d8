//! Percona's exporter for MongoDB, built by Go: Debian's is too old for this mongod.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::install::{self, last_line};
use crate::report::say;
use crate::workspace::engine_cache;

const MODULE: &str = "github.com/percona/mongodb_exporter";
const VERSION: &str = "v0.43.1";

pub async fn program() -> Result<PathBuf> {
    if let Some(found) = install::find(&["mongodb_exporter"]) {
        return Ok(found);
    }
    let kept = engine_cache()?.join(format!("mongodb_exporter-{VERSION}"));
    if !kept.exists() {
        build(&kept).await?;
    }
    Ok(kept)
}

/// Built beside its place and moved there at once: two first starts do not disturb each other.
async fn build(kept: &PathBuf) -> Result<()> {
    let Some(go) = install::find(&["go"]) else {
        bail!("mongodb_exporter is built by Go 1.23 or newer, which is not installed; or put the program on PATH");
    };
    say(&format!("  mongodb-exporter   building {MODULE}@{VERSION} with Go"));
    let folder = kept.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    // A module that requires it: `go install` also asks the proxy which versions there are, and some proxies do not say.
    fs::write(folder.join("go.mod"), format!("module exporter\n\ngo 1.23\n\nrequire {MODULE} {VERSION}\n"))?;
    let output = Command::new(go)
        .args(["build", "-mod=mod", "-o", "exporter", MODULE])
        .current_dir(&folder)
        .kill_on_drop(true)
        .output()
        .await?;
    let built = if output.status.success() { fs::rename(folder.join("exporter"), kept) } else { Ok(()) };
    let _ = fs::remove_dir_all(&folder);
    if !output.status.success() {
        bail!("Go cannot build {MODULE}@{VERSION}: {}", last_line(&output.stderr));
    }
    Ok(built?)
}
