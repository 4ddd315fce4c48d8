//! `cargo stack`: the whole system on one machine, without Docker.

mod backup;
mod bench;
mod build;
mod cache;
mod cli;
mod control;
mod demo;
mod engines;
mod environment;
mod gateway;
mod handle;
mod http_client;
mod install;
mod layer;
mod lifecycle;
mod link;
mod logs;
mod observe;
mod options;
mod plan;
mod ports;
mod previous;
mod process;
mod process_supervisor;
mod replicas;
mod service;
mod stack;
mod stack_dir;
mod state;
mod status;
mod supervise;
mod terminal;
mod test_run;
mod test_summary;
mod web;
mod welcome;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

use cli::{Cli, Command};
use control::Request;
use stack_dir::StackDir;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let threads = || Builder::new_multi_thread().enable_all().build();
    let command = match command {
        Command::Gateway(options) => return threads()?.block_on(gateway::serve(options)).map(success),
        Command::Web(options) => return threads()?.block_on(web::serve(options)).map(success),
        Command::Link(options) => return threads()?.block_on(link::serve(options)).map(success),
        Command::ObjectStore(options) => {
            return threads()?.block_on(engines::object_store::serve(options)).map(success);
        }
        command => command,
    };
    // One thread: the kernel ends a child when the thread that started it ends, and the main thread ends last.
    Builder::new_current_thread().enable_all().build()?.block_on(execute(command))
}

async fn execute(command: Command) -> Result<ExitCode> {
    let dir = StackDir::of_workspace()?;
    match command {
        Command::Up { detach: true, options } => supervise::detached(&dir, &options).await.map(success),
        Command::Up { detach: false, options } => supervise::foreground(dir, options).await.map(success),
        Command::Supervise(options) => supervise::background(dir, options).await.map(success),
        Command::Status { json } => status::print_status(&dir, json).await.map(success),
        Command::Env => status::print_env(&dir).map(success),
        Command::Logs { name, follow } => logs::print_logs(&dir, name.as_deref(), follow).await.map(success),
        Command::Down { wipe } => supervise::down(&dir, wipe).await.map(success),
        Command::Stop { name } => control::request(&dir, Request::Stop { name }).await.map(success),
        Command::Start { name } => control::request(&dir, Request::Start { name }).await.map(success),
        Command::Restart { name } => control::request(&dir, Request::Restart { name }).await.map(success),
        Command::Kill { name } => control::request(&dir, Request::Kill { name }).await.map(success),
        Command::Demo => demo::play(&dir).await.map(success),
        Command::Bench { args } => bench::run(&dir, &args).await,
        Command::Backup(options) => backup::back_up(dir, options).await.map(success),
        Command::Restore(options) => backup::restore(dir, options).await.map(success),
        Command::Test { options, args } => test_run::run(dir.for_tests(), options, args).await,
        Command::Gateway(_) | Command::Web(_) | Command::Link(_) | Command::ObjectStore(_) => Ok(ExitCode::SUCCESS),
    }
}

fn success(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
