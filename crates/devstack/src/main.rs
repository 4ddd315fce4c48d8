//! `cargo stack`: the whole system on one machine, without Docker.

mod build;
mod control;
mod demo;
mod engines;
mod environment;
mod gateway;
mod handle;
mod install;
mod keeper;
mod observe;
mod options;
mod ports;
mod process;
mod report;
mod services;
mod stack;
mod state;
mod supervise;
mod tests_run;
mod web;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

use control::Request;
use options::{Cli, Command};
use workspace::Place;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            report::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let threads = || Builder::new_multi_thread().enable_all().build();
    let command = match command {
        Command::Gateway(options) => return threads()?.block_on(gateway::serve(options)).map(done),
        Command::Web(options) => return threads()?.block_on(web::serve(options)).map(done),
        command => command,
    };
    // One thread: children are told to end with the thread that started them, and this one ends last.
    Builder::new_current_thread().enable_all().build()?.block_on(perform(command))
}

async fn perform(command: Command) -> Result<ExitCode> {
    let place = Place::of_workspace()?;
    match command {
        Command::Up { detach: true, options } => supervise::detached(&place, &options).await.map(done),
        Command::Up { detach: false, options } => supervise::in_front(place, options).await.map(done),
        Command::Supervise(options) => supervise::in_background(place, options).await.map(done),
        Command::Status { json } => report::status(&place, json).await,
        Command::Env => report::env(&place).map(done),
        Command::Logs { name, follow } => report::logs(&place, name.as_deref(), follow).await.map(done),
        Command::Down { wipe } => supervise::down(&place, wipe).await.map(done),
        Command::Stop { name } => control::order(&place, Request::Stop { name }).await.map(done),
        Command::Start { name } => control::order(&place, Request::Start { name }).await.map(done),
        Command::Restart { name } => control::order(&place, Request::Restart { name }).await.map(done),
        Command::Kill { name } => control::order(&place, Request::Kill { name }).await.map(done),
        Command::Demo => demo::play(&place).await.map(done),
        Command::Test { options, args } => tests_run::run(place.for_tests(), options, args).await,
        Command::Gateway(_) | Command::Web(_) => Ok(ExitCode::SUCCESS),
    }
}

fn done(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
