//! `cargo stack test`: runs tests of the workspace against a stack of their own.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::build::{Executable, build, cargo};
use crate::control;
use crate::install::{self, CHROMEDRIVER};
use crate::options::{Exclusive, Faults, TestOptions, UpOptions};
use crate::stack::Stack;
use crate::stack_dir::StackDir;
use crate::supervise::with_stack;
use crate::terminal::{print, print_raw};
use crate::test_summary::TestSummary;

/// The pipe of the output stays open while a process that a test left behind runs. After cargo has ended, its last
/// output arrives at once.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_millis(200);

pub async fn run(dir: StackDir, options: TestOptions, args: Vec<String>) -> Result<ExitCode> {
    let (size, exclusive) = (options.size(), options.exclusive());
    with_stack(dir, UpOptions::from(options), async |stack| test(stack, size, exclusive, &args).await).await
}

async fn test(stack: &Stack, size: Option<Faults>, exclusive: Option<Exclusive>, args: &[String]) -> Result<ExitCode> {
    if exclusive.is_none() && covers_page(args) {
        ensure_browser().await;
    }
    let args = CargoArgs::new(exclusive, args);
    // Builds first, with cargo's own progress, and learns to which package a test program belongs.
    let mut executables = Vec::new();
    if let Some(args) = args.for_build() {
        print(&format!("Building the tests: cargo {}", args.join(" ")));
        let (status, built) = tokio::select! {
            built = build(command(stack, &args)) => built?,
            () = stack.shutdown.cancelled() => bail!("interrupted while building"),
        };
        if !status.success() {
            return Ok(exit_code(status));
        }
        executables = built;
    }
    let args = args.for_run();
    print(&format!("Testing: cargo {}", args.join(" ")));
    let mut cargo = command(stack, &args);
    // Variables with which a test stops and starts processes of the stack, and runs commands of the services.
    cargo.env("STACK_CONTROL", control::socket(&stack.plan.dir)).env("STACK_PROGRAMS", stack.plan.dir.programs());
    cargo.env("STACK_DISKS", stack.plan.dir.disks());
    cargo.envs(stack.plan.options.previous.as_ref().map(|revision| ("STACK_PREVIOUS", revision)));
    cargo.envs(size.map(|size| ("FAULTS", size.as_str())));
    let (status, summary) = run_tests(cargo, &executables, &stack.shutdown, print_raw).await?;
    summary.iter().for_each(|line| print(line));
    Ok(exit_code(status))
}

fn command(stack: &Stack, args: &[String]) -> Command {
    let mut cargo = cargo(&stack.plan.dir);
    cargo.args(args).envs(stack.env());
    cargo
}

/// Runs cargo and passes its output on as it comes. Returns the lines of the summary.
async fn run_tests(
    mut cargo: Command,
    executables: &[Executable],
    shutdown: &CancellationToken,
    mut pass_on: impl FnMut(&[u8]),
) -> Result<(ExitStatus, Vec<String>)> {
    let mut summary = TestSummary::new(executables);
    // One pipe, so that cargo's headings keep their place between the outputs of the test programs.
    let (output, input) = io::pipe()?;
    let mut output = pipe::Receiver::from_owned_fd(output.into())?;
    // A process group of its own, so that a signal reaches cargo and the test programs.
    cargo.stdout(input.try_clone()?).stderr(input).process_group(0);
    let mut child = cargo.spawn().context("cannot start cargo")?;
    // Closes the copies of the pipe's end in this process.
    drop(cargo);
    let group = child.id().context("cargo has ended")?;
    let mut buffer = vec![0; 64 * 1024];
    let mut interrupted = false;
    let status = loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if !interrupted => {
                interrupted = true;
                let _ = killpg(Pid::from_raw(group as i32), Signal::SIGINT);
            }
            Ok(count @ 1..) = output.read(&mut buffer) => {
                pass_on(&buffer[..count]);
                summary.read(&buffer[..count]);
            }
            status = child.wait() => break status?,
        }
    };
    while let Ok(Ok(count @ 1..)) = timeout(LAST_OUTPUT_TIMEOUT, output.read(&mut buffer)).await {
        pass_on(&buffer[..count]);
        summary.read(&buffer[..count]);
    }
    Ok((status, summary.lines(status.success())))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Installs the browser for the tests of the page. Without it, all other tests run nevertheless.
async fn ensure_browser() {
    if let Err(error) = install::ensure(&[CHROMEDRIVER]).await {
        print(&format!("The tests of the page will be skipped: {error:#}"));
    }
}

fn covers_page(args: &[String]) -> bool {
    let for_cargo = || args.iter().take_while(|arg| *arg != "--");
    !for_cargo().any(names_package) || for_cargo().any(|arg| arg.ends_with("e2e"))
}

fn names_package(arg: &String) -> bool {
    arg.starts_with("-p") || arg == "--package" || arg.starts_with("--package=")
}

/// The arguments of `cargo test`: the whole workspace unless a package is named, or the tests of one program that must
/// not run beside others; those are ignored otherwise and run one at a time. That program is chosen by its name in the
/// whole workspace: for a package alone, cargo would choose other features of dependencies and compile them again.
struct CargoArgs {
    for_cargo: Vec<String>,
    for_tests: Vec<String>,
}

impl CargoArgs {
    fn new(exclusive: Option<Exclusive>, args: &[String]) -> Self {
        let mut parts = args.split(|arg| arg == "--");
        let (cargo_args, test_args) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let mut for_cargo = owned(&["test", "--no-fail-fast"]);
        if !cargo_args.iter().any(names_package) {
            for_cargo.push("--workspace".into());
        }
        let mut for_tests = Vec::new();
        if let Some(Exclusive { program, filter }) = exclusive {
            for_cargo.extend(owned(&["--test", program]));
            for_tests = owned(&["--ignored", "--test-threads=1", "--nocapture"]);
            for_tests.extend(owned(filter));
        }
        for_cargo.extend_from_slice(cargo_args);
        for_tests.extend_from_slice(test_args);
        Self { for_cargo, for_tests }
    }

    /// None for documentation tests, which cargo builds only as it runs them.
    fn for_build(&self) -> Option<Vec<String>> {
        let mut args = self.for_cargo.clone();
        args.retain(|arg| arg != "--no-run");
        args.extend(["--no-run".into(), "--message-format=json-render-diagnostics".into()]);
        (!args.iter().any(|arg| arg == "--doc")).then_some(args)
    }

    fn for_run(&self) -> Vec<String> {
        let mut args = [&self.for_cargo[..], &["--".into()], &self.for_tests].concat();
        // The output of the tests passes through a pipe.
        if io::stdout().is_terminal() && !args.iter().any(|arg| arg.starts_with("--color")) {
            args.push("--color=always".into());
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn args(exclusive: Option<Exclusive>, line: &str) -> String {
        let CargoArgs { for_cargo, for_tests } = CargoArgs::new(exclusive, &words(line));
        [for_cargo, vec!["--".into()], for_tests].concat().join(" ")
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        assert_eq!(args(None, ""), "test --no-fail-fast --workspace --");
        assert_eq!(args(None, "-p e2e --test story -- -p"), "test --no-fail-fast -p e2e --test story -- -p");
        assert_eq!(args(None, "--package=e2e logout"), "test --no-fail-fast --package=e2e logout --");
        assert_eq!(args(None, "-- --package"), "test --no-fail-fast --workspace -- --package");
    }

    #[test]
    fn tests_are_built_before_they_run_except_documentation_tests() {
        let built = |line: &str| CargoArgs::new(None, &words(line)).for_build().map(|args| args.join(" "));
        let message_format = "--message-format=json-render-diagnostics";
        assert_eq!(
            built("-p e2e -- --exact").unwrap(),
            format!("test --no-fail-fast -p e2e --no-run {message_format}")
        );
        assert_eq!(built("--doc"), None);
    }

    /// Runs a shell script in the place of cargo.
    async fn run_script(script: &str, shutdown: &CancellationToken) -> (ExitStatus, String) {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        let mut output = Vec::new();
        let (status, summary) = run_tests(shell, &[], shutdown, |piece| output.extend_from_slice(piece)).await.unwrap();
        // Not printed: a summary of these tests themselves would count the tests in it.
        assert_eq!(output.is_empty(), shutdown.is_cancelled());
        (status, summary.last().unwrap().clone())
    }

    #[tokio::test]
    async fn both_outputs_are_read_in_order_even_if_a_process_is_left_behind() {
        let script = "echo '     Running tests/a.rs (t/a-1)' >&2; echo 'skipped: reason' >&2
            echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s'
            echo '     Running tests/b.rs (t/b-1)' >&2; sleep 5 & exit 101";
        let (status, summary) = run_script(script, &CancellationToken::new()).await;
        assert_eq!((status.code(), summary.as_str()), (Some(101), "1 passed, 1 failed, 2 skipped"));
    }

    #[tokio::test]
    async fn a_shutdown_interrupts_cargo_and_the_tests() {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let (status, _) = run_script("sleep 60 & wait", &shutdown).await;
        assert!(!status.success());
    }

    #[test]
    fn a_browser_is_needed_only_for_tests_of_the_page() {
        let needed = |line: &str| covers_page(&words(line));
        assert!(
            needed("") && needed("story") && needed("-p e2e") && needed("--package=e2e") && needed("-p common -p e2e")
        );
        assert!(!needed("-p chat-service") && !needed("--package=common"));
    }

    #[test]
    fn tests_that_disturb_others_run_alone_and_one_at_a_time() {
        assert_eq!(
            args(Some(Exclusive { program: "faults", filter: &["--skip=drill::"] }), "poison -- --exact"),
            "test --no-fail-fast --workspace --test faults poison -- --ignored --test-threads=1 --nocapture \
             --skip=drill:: --exact"
        );
    }
}
