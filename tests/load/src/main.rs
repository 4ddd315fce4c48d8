//! `cargo stack bench`: measures a running system.

mod act;
mod api;
mod args;
mod bench;
mod dimension;
mod engines;
mod file;
mod html;
mod http;
mod listener;
mod load;
mod received;
mod report;
mod scenarios;
mod story;
mod stream;
mod system;
mod target;
mod terminal;
mod world;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tokio::runtime::Runtime;

use args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(wrong) = args.check() {
        Args::command().error(ErrorKind::ValueValidation, wrong).exit();
    }
    match Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(bench::run(args))) {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
