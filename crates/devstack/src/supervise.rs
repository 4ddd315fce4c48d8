//! The process that owns a stack: in front of the terminal, or behind it.

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
use crate::options::UpOptions;
use crate::process::{self, end_orphans};
use crate::report::{self, say};
use crate::stack::Stack;
use crate::state::StateFile;
use crate::workspace::Place;

const SUPERVISOR: &str = "supervisor";
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longer than the graces of all three layers together.
const DOWN_WITHIN: Duration = Duration::from_secs(90);

/// Runs a stack until Ctrl-C, SIGTERM or `down`.
pub async fn in_front(place: Place, options: UpOptions) -> Result<()> {
    let said = options.clone();
    with_stack(place, options, async |stack| {
        report::welcome(&stack.entries(), &stack.env(), &said);
        say("Ctrl-C stops everything.");
        stack.leave.cancelled().await;
        Ok(())
    })
    .await
}

/// The same without a terminal, started by `detached`.
pub async fn in_background(place: Place, options: UpOptions) -> Result<()> {
    nix::unistd::setsid().context("cannot leave the terminal's session")?;
    with_stack(place, options, async |stack| {
        stack.leave.cancelled().await;
        Ok(())
    })
    .await
}

/// Brings a stack up, does `work` with it, takes it down, however it ends.
pub async fn with_stack<T>(place: Place, options: UpOptions, work: impl AsyncFnOnce(&Stack) -> Result<T>) -> Result<T> {
    place.create()?;
    let _lock = lock(&place)?;
    clean_up(&place).await;
    place.empty_logs(SUPERVISOR)?;
    if options.fresh {
        place.wipe_data()?;
    }
    let stack = Arc::new(Stack::new(place, options)?);
    let control = Control::open(&stack.plan.place)?;
    let serving = tokio::spawn(control.serve(Arc::clone(&stack)));
    let leaving = tokio::spawn(leave_on_signal(Arc::clone(&stack))?);
    let recording = tokio::spawn({
        let stack = Arc::clone(&stack);
        async move { stack.record().await }
    });

    let result = up_and_work(&stack, work).await;

    stack.leave.cancel();
    stack.take_down().await;
    for task in [serving, leaving] {
        task.abort();
    }
    recording.abort();
    stack.write_state()?;
    result
}

async fn up_and_work<T>(stack: &Stack, work: impl AsyncFnOnce(&Stack) -> Result<T>) -> Result<T> {
    tokio::select! {
        up = stack.bring_up() => up?,
        () = stack.leave.cancelled() => bail!("interrupted while starting"),
    }
    work(stack).await
}

fn leave_on_signal(stack: Arc<Stack>) -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        say("Stopping everything …");
        stack.leave.cancel();
    })
}

/// Held as long as a supervisor lives; the kernel lets go of it with the process.
fn lock(place: &Place) -> Result<File> {
    let path = place.lock_file();
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("it runs already: see cargo stack status, end it with cargo stack down"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Ends what a supervisor left that was killed itself.
async fn clean_up(place: &Place) {
    if let Some(state) = StateFile::read(place) {
        end_orphans(&state.children()).await;
    }
}

/// Starts a supervisor behind the terminal and shows its progress until everything is ready.
pub async fn detached(place: &Place, options: &UpOptions) -> Result<()> {
    place.create()?;
    drop(lock(place)?);
    let path = place.log(SUPERVISOR);
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut progress = File::open(&path)?;
    let mut supervisor = spawn_supervisor(log)?;
    loop {
        let ended = supervisor.try_wait()?;
        let state = StateFile::read(place).filter(|state| state.supervisor == supervisor.id() && state.ready);
        report::pass_on(&report::grown(&mut progress)?);
        if ended.is_some() {
            bail!("nothing was left running; what was said is in {}", path.display());
        }
        if let Some(state) = state {
            let entries: Vec<_> = state.processes.into_iter().map(|process| process.entry).collect();
            report::welcome(&entries, &state.env, options);
            say("It goes on running. Stop it: cargo stack down");
            return Ok(());
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
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

pub async fn down(place: &Place, wipe: bool) -> Result<()> {
    place.create()?;
    if control::order(place, Request::Down).await.is_ok() {
        until_unlocked(place).await?;
        say("Everything is stopped.");
    } else {
        let _lock = lock(place)?;
        clean_up(place).await;
        say("Nothing runs here.");
    }
    if wipe {
        place.wipe()?;
        say("Data and logs are deleted.");
    }
    Ok(())
}

async fn until_unlocked(place: &Place) -> Result<()> {
    let deadline = Instant::now() + DOWN_WITHIN;
    while let Err(error) = lock(place) {
        if Instant::now() > deadline {
            return Err(error.context("it does not end"));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
