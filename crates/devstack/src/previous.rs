//! The services of an earlier revision, with which a drill begins and to which it returns.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::Instant;

use crate::build::{Binaries, build, cargo};
use crate::cache::{create_atomically, engine_cache};
use crate::install::last_line;
use crate::plan::Plan;
use crate::service::Service;
use crate::terminal::print_step;

/// The programs of the revision in the plan, which are built once and stay in the cache.
pub async fn binaries(plan: &Plan) -> Result<Option<Binaries>> {
    let Some(revision) = &plan.options.previous else { return Ok(None) };
    let started = Instant::now();
    let commit = git(plan, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).await;
    let commit = commit.with_context(|| format!("this clone has no revision {revision}"))?;
    let folder = engine_cache()?.join(format!("services-{}", commit.trim()));
    if !folder.is_dir() {
        create_atomically(&folder, async |draft| compile(plan, revision, draft).await).await?;
    }
    print_step("build", &format!("services of {revision}"), started);
    Service::ALL.map(Service::name).into_iter().map(|name| copy(plan, &folder, name)).collect::<Result<_>>().map(Some)
}

/// Copies a program to those of the stack, under the name by which the drill finds it.
fn copy(plan: &Plan, folder: &Path, name: &str) -> Result<(String, PathBuf)> {
    Ok((name.into(), plan.dir.copy_program(&folder.join(name), &format!("previous-{name}"))?))
}

/// Builds the workspace of the revision beside that of today, with the same dependencies as far as they are the same.
async fn compile(plan: &Plan, revision: &str, draft: &Path) -> Result<()> {
    let source = draft.join("source");
    fs::create_dir_all(&source)?;
    let archive = draft.join("source.tar");
    git(plan, &["archive", "--output", &archive.display().to_string(), revision]).await?;
    output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source)).await?;
    let mut cargo = cargo(&plan.dir);
    cargo
        .current_dir(&source)
        .args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target_dir()?);
    let (status, executables) = build(cargo).await?;
    if !status.success() {
        bail!("the services of {revision} do not build; cargo's errors are above");
    }
    for name in Service::ALL.map(Service::name) {
        let built = executables.iter().find(|executable| executable.target.name == name);
        fs::copy(&built.with_context(|| format!("{revision} has no program {name}"))?.path, draft.join(name))?;
    }
    fs::remove_file(&archive)?;
    fs::remove_dir_all(&source)?;
    Ok(())
}

/// The target folder of cargo, in which this program is `debug/devstack`.
fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).context("this program is not in a target folder of cargo")?.into())
}

async fn git(plan: &Plan, args: &[&str]) -> Result<String> {
    output(Command::new("git").args(args).current_dir(&plan.dir.root)).await
}

async fn output(command: &mut Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await?;
    if !output.status.success() {
        bail!("{:?} failed: {}", command.as_std().get_program(), last_line(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into())
}
