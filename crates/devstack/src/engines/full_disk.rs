//! Disks of engines that can be full: a library that is loaded into the engine makes its writes fail.

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::plan::Plan;
use crate::process::Launch;
use crate::stack_dir::StackDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engines/full_disk.c");

/// Compiles the library with the C compiler that the services are built with. Does nothing without `--drill`.
pub async fn prepare(plan: &Plan) -> Result<()> {
    if !plan.options.breakable {
        return Ok(());
    }
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", &library(&plan.dir), SOURCE]).status().await;
    if !compiled.context("cannot start cc")?.success() {
        bail!("{SOURCE} does not compile");
    }
    Ok(())
}

/// With `--drill`, the disk of the engine is full while the file `<name>.full` is in the folder of the disks.
pub fn apply(plan: &Plan, launch: Launch, name: &str) -> Launch {
    if !plan.options.breakable {
        return launch;
    }
    let file = plan.dir.disks().join(format!("{name}.full"));
    launch.env("LD_PRELOAD", library(&plan.dir)).env("DISK_FULL_FILE", file.display().to_string())
}

fn library(dir: &StackDir) -> String {
    dir.programs().join("full_disk.so").display().to_string()
}
