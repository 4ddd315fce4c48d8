//! Disks of engines that can be full: a library that is loaded into the engine makes its writes fail.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::plan::Plan;
use crate::process::Launch;
use crate::stack_dir::StackDir;

const SOURCE: &str = include_str!("full_disk.c");

/// Compiles the library with the C compiler that the services are built with. Does nothing without `--drill`.
pub async fn prepare(plan: &Plan) -> Result<()> {
    if !plan.options.breakable {
        return Ok(());
    }
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o", &library(&plan.dir), "-x", "c", "-"]).stdin(Stdio::piped());
    let mut compiler = command.spawn().context("cannot start cc")?;
    let mut input = compiler.stdin.take().context("cc has no standard input")?;
    input.write_all(SOURCE.as_bytes()).await?;
    drop(input);
    if !compiler.wait().await?.success() {
        bail!("full_disk.c does not compile");
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
