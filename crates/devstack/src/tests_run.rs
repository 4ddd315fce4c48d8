//! `cargo stack test`: every test of the workspace against engines and services of their own.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::options::{TestOptions, UpOptions};
use crate::report::say;
use crate::stack::Stack;
use crate::supervise::with_stack;
use crate::workspace::Place;

pub async fn run(place: Place, options: TestOptions, args: Vec<String>) -> Result<ExitCode> {
    place.wipe_if_idle()?;
    with_stack(place, UpOptions::from(options), async |stack| test(stack, &args).await).await
}

/// Cargo stays in the terminal's process group, so Ctrl-C ends it too.
async fn test(stack: &Stack, args: &[String]) -> Result<ExitCode> {
    say("Testing: cargo test --workspace");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--workspace"])
        .args(args)
        .envs(stack.env())
        .current_dir(&stack.plan.place.root)
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot start cargo")?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
