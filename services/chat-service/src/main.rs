//! The program of chat-service.

use std::process::ExitCode;

use chat_service::{Config, PICTURE_COMMAND, SERVICE};
use common::config::Env;

/// The commands of this service alone.
const COMMANDS: [service::Command; 3] = [
    service::Command {
        name: "epoch",
        purpose: "shows the epoch of the store; epoch --new begins another after a restore",
    },
    service::Command {
        name: "files",
        purpose: "files check compares the bucket of files with the database; --remove removes objects without an owner",
    },
    service::Command { name: PICTURE_COMMAND, purpose: "decodes a picture; the service starts it" },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((command, args)) if command == PICTURE_COMMAND => {
            service::exit_code(SERVICE, chat_service::execute_picture(args))
        }
        _ => run(args),
    }
}

#[tokio::main]
async fn run(args: Vec<String>) -> ExitCode {
    match args.split_first() {
        Some((command, args)) if command == "epoch" => {
            let done = async { chat_service::execute_epoch(&Env::of_process()?, args).await };
            service::exit_code(SERVICE, done.await)
        }
        Some((command, args)) if command == "files" => {
            let done = async { chat_service::execute_files(&Env::of_process()?, args).await };
            service::exit_code(SERVICE, done.await)
        }
        _ => service::main(SERVICE, &COMMANDS, Config::read, chat_service::app).await,
    }
}
