//! `cargo stack test`: every test of the workspace against engines and services of their own; or the fault tests.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::build::cargo;
use crate::control;
use crate::install::{self, CHROMEDRIVER};
use crate::options::{Faults, TestOptions, UpOptions};
use crate::report::say;
use crate::stack::Stack;
use crate::supervise::with_stack;
use crate::workspace::Place;

pub async fn run(place: Place, options: TestOptions, args: Vec<String>) -> Result<ExitCode> {
    let (faults, alone) = (options.faults, options.alone());
    with_stack(place, UpOptions::from(options), async |stack| test(stack, faults, alone, &args).await).await
}

async fn test(stack: &Stack, faults: Option<Faults>, alone: Option<&'static str>, args: &[String]) -> Result<ExitCode> {
    if alone.is_none() && whole_or_e2e(args) {
        browser().await;
    }
    let args = cargo_args(alone, args);
    say(&format!("Testing: cargo {}", args.join(" ")));
    let place = &stack.plan.place;
    let mut cargo = cargo(place)
        .args(args)
        .envs(stack.env())
        // By these a test stops and starts what it is tested against, and runs the services' own commands.
        .env("STACK_CONTROL", control::socket(place))
        .env("STACK_PROGRAMS", place.programs())
        .envs(faults.map(|size| ("FAULTS", size.word())))
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

/// The page is tested in a browser; where none can be had, everything else is tested nevertheless.
async fn browser() {
    if let Err(why) = install::all(&[CHROMEDRIVER]).await {
        say(&format!("The test of the page will be skipped: {why:#}"));
    }
}

fn whole_or_e2e(args: &[String]) -> bool {
    let for_cargo = || args.iter().take_while(|arg| *arg != "--");
    !for_cargo().any(names_package) || for_cargo().any(|arg| arg.ends_with("e2e"))
}

fn names_package(arg: &String) -> bool {
    arg.starts_with("-p") || arg == "--package" || arg.starts_with("--package=")
}

/// The whole workspace, unless a package is named; or one test program alone, whose tests are ignored otherwise and take
/// turns. It is chosen by its name and not by its package: cargo would choose other features of all dependencies for a
/// package alone, and compile them again.
fn cargo_args(alone: Option<&'static str>, said: &[String]) -> Vec<String> {
    let mut of_cargo = said.split(|arg| arg == "--");
    let (for_cargo, for_tests) = (of_cargo.next().unwrap_or_default(), of_cargo.next().unwrap_or_default());
    let mut args = vec!["test", "--no-fail-fast"];
    args.extend((!for_cargo.iter().any(names_package)).then_some("--workspace"));
    args.extend(alone.iter().flat_map(|program| ["--test", *program]));
    args.extend(for_cargo.iter().map(String::as_str));
    args.push("--");
    args.extend(alone.iter().flat_map(|_| ["--ignored", "--test-threads=1", "--nocapture"]));
    args.extend(for_tests.iter().map(String::as_str));
    args.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(alone: Option<&'static str>, said: &str) -> String {
        let said: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        cargo_args(alone, &said).join(" ")
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        assert_eq!(args(None, ""), "test --no-fail-fast --workspace --");
        assert_eq!(args(None, "-p e2e --test story -- -p"), "test --no-fail-fast -p e2e --test story -- -p");
        assert_eq!(args(None, "--package=e2e logout"), "test --no-fail-fast --package=e2e logout --");
        assert_eq!(args(None, "-- --package"), "test --no-fail-fast --workspace -- --package");
    }

    #[test]
    fn a_browser_is_wanted_where_the_page_is_tested() {
        let wanted = |said: &str| whole_or_e2e(&said.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(
            wanted("") && wanted("story") && wanted("-p e2e") && wanted("--package=e2e") && wanted("-p common -p e2e")
        );
        assert!(!wanted("-p chat-service") && !wanted("--package=common"));
    }

    #[test]
    fn what_disturbs_others_runs_alone_and_one_after_another() {
        assert_eq!(
            args(Some("faults"), "poison -- --exact"),
            "test --no-fail-fast --workspace --test faults poison -- --ignored --test-threads=1 --nocapture --exact"
        );
    }
}
