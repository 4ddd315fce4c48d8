//! The process that runs a stack: in the foreground of a terminal, or in the background.

use std::fs::{File, TryLockError};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::control::{self, Control, Request};
use crate::lifecycle::{bring_up, take_down};
use crate::logs::read_appended;
use crate::options::UpOptions;
use crate::plan::Plan;
use crate::process::{self, end_orphans};
use crate::stack::Stack;
use crate::stack_dir::StackDir;
use crate::state::StateFile;
use crate::terminal::{print, print_raw};
use crate::welcome::print_welcome;

const SUPERVISOR: &str = "supervisor";
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Longer than the graces of all layers together.
const DOWN_TIMEOUT: Duration = Duration::from_secs(90);

/// Runs a stack until Ctrl-C, SIGTERM or `cargo stack down`.
pub async fn foreground(dir: StackDir, options: UpOptions) -> Result<()> {
    with_stack(dir, options, async |stack| {
        print_welcome(&stack.processes(), &stack.env(), &stack.plan.options);
        print("Ctrl-C stops everything.");
        stack.shutdown.cancelled().await;
        Ok(())
    })
    .await
}

/// Runs a stack in a session of its own until SIGTERM or `cargo stack down`; `detached` starts it.
pub async fn background(dir: StackDir, options: UpOptions) -> Result<()> {
    nix::unistd::setsid().context("cannot leave the terminal's session")?;
    with_stack(dir, options, async |stack| {
        stack.shutdown.cancelled().await;
        Ok(())
    })
    .await
}

/// Brings a stack up, runs `work` with it, and takes it down, also after a failure.
pub async fn with_stack<T>(
    dir: StackDir,
    options: UpOptions,
    work: impl AsyncFnOnce(&Stack) -> Result<T>,
) -> Result<T> {
    dir.create()?;
    let _lock = lock(&dir)?;
    end_leftovers(&dir).await;
    dir.delete_logs_except(SUPERVISOR)?;
    if options.fresh {
        dir.wipe_data()?;
    }
    if dir.restoring().exists() {
        print("A restore was interrupted: the stores are incomplete until it is repeated.");
    }
    let stack = Arc::new(Stack::new(Plan::new(dir, options)?));
    let control = Control::bind(&stack.plan.dir)?;
    let serving = tokio::spawn(control.serve(Arc::clone(&stack)));
    let watching = tokio::spawn(shut_down_on_signal(Arc::clone(&stack))?);
    let recording = tokio::spawn({
        let stack = Arc::clone(&stack);
        async move { stack.record().await }
    });

    let result = bring_up_and_work(&stack, work).await;

    stack.shutdown.cancel();
    take_down(&stack).await;
    for task in [serving, watching] {
        task.abort();
    }
    recording.abort();
    stack.write_state()?;
    result
}

async fn bring_up_and_work<T>(stack: &Stack, work: impl AsyncFnOnce(&Stack) -> Result<T>) -> Result<T> {
    tokio::select! {
        up = bring_up(stack) => up?,
        () = stack.shutdown.cancelled() => bail!("interrupted while starting"),
    }
    work(stack).await
}

fn shut_down_on_signal(stack: Arc<Stack>) -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        print("Stopping everything …");
        stack.shutdown.cancel();
    })
}

/// Takes the lock that a supervisor holds for its life. The kernel releases it when the process ends.
fn lock(dir: &StackDir) -> Result<File> {
    let path = dir.lock_file();
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("a stack is running already: inspect it with cargo stack status, stop it with cargo stack down")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Ends the processes of a supervisor that was killed.
async fn end_leftovers(dir: &StackDir) {
    if let Some(state) = StateFile::read(dir) {
        end_orphans(&state.children()).await;
    }
}

/// Starts a supervisor in the background and prints its output until everything is ready.
pub async fn detached(dir: &StackDir, options: &UpOptions) -> Result<()> {
    dir.create()?;
    drop(lock(dir)?);
    let path = dir.log(SUPERVISOR);
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut output = File::open(&path)?;
    let mut supervisor = spawn_supervisor(log)?;
    loop {
        let ended = supervisor.try_wait()?;
        let state = StateFile::read(dir).filter(|state| state.supervisor == supervisor.id() && state.ready);
        print_raw(&read_appended(&mut output)?);
        if ended.is_some() {
            bail!("the stack did not start, and nothing is left running; the log is {}", path.display());
        }
        if let Some(state) = state {
            let processes: Vec<_> = state.processes.into_iter().map(|process| process.status).collect();
            print_welcome(&processes, &state.env, options);
            print("The stack runs in the background. Stop it: cargo stack down");
            return Ok(());
        }
        tokio::select! {
            () = sleep(POLL_EVERY) => {}
            _ = ctrl_c() => process::signal(supervisor.id(), Signal::SIGTERM),
        }
    }
}

fn spawn_supervisor(log: File) -> Result<Child> {
    let options = std::env::args().skip_while(|arg| arg != "up").skip(1).filter(|arg| arg != "--detach");
    Command::new(std::env::current_exe()?)
        .arg("supervise")
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the supervisor")
}

pub async fn down(dir: &StackDir, wipe: bool) -> Result<()> {
    dir.create()?;
    if control::request(dir, Request::Down).await.is_ok() {
        until_unlocked(dir).await?;
        print("Everything is stopped.");
    } else {
        let _lock = lock(dir)?;
        end_leftovers(dir).await;
        print("No stack is running.");
    }
    if wipe {
        dir.wipe()?;
        print("Data and logs are deleted.");
    }
    Ok(())
}

async fn until_unlocked(dir: &StackDir) -> Result<()> {
    let deadline = Instant::now() + DOWN_TIMEOUT;
    while let Err(error) = lock(dir) {
        if Instant::now() > deadline {
            return Err(error.context("the supervisor does not end"));
        }
        sleep(POLL_EVERY).await;
    }
    Ok(())
}
