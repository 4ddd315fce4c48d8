//! The program of chat-service.

use std::process::ExitCode;

use chat_service::{Config, SERVICE};
use common::config::Env;

/// The command of this service alone.
const EPOCH: service::Command = service::Command {
    name: "epoch",
    purpose: "shows the epoch of the store; epoch --new begins another after a restore",
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((command, args)) if command == EPOCH.name => {
            let done = async { chat_service::execute_epoch(&Env::of_process()?, args).await };
            service::exit_code(SERVICE, done.await)
        }
        _ => service::main(SERVICE, &[EPOCH], Config::read, chat_service::app).await,
    }
}
