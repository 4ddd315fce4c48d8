//! `cargo stack test`: every test of the workspace against engines and services of their own.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::build::cargo;
use crate::options::{TestOptions, UpOptions};
use crate::report::say;
use crate::stack::Stack;
use crate::supervise::with_stack;
use crate::workspace::Place;

pub async fn run(place: Place, options: TestOptions, args: Vec<String>) -> Result<ExitCode> {
    with_stack(place, UpOptions::from(options), async |stack| test(stack, &args).await).await
}

async fn test(stack: &Stack, args: &[String]) -> Result<ExitCode> {
    say("Testing: cargo test --workspace");
    let mut cargo = cargo(&stack.plan.place)
        .args(["test", "--workspace"])
        .args(args)
        .envs(stack.env())
        // Tests that hang end with cargo: the whole group is told.
        .process_group(0)
        .spawn()
        .context("cannot start cargo")?;
    let group = cargo.id().context("cargo has ended")?;
    let status = tokio::select! {
        status = cargo.wait() => status?,
        () = stack.leave.cancelled() => {
            let _ = killpg(Pid::from_raw(group as i32), Signal::SIGINT);
            cargo.wait().await?
        }
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
