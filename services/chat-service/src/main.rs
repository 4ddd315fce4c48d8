//! The program of chat-service.

use std::process::ExitCode;

use chat_service::{Config, SERVICE};
use common::config::Env;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((command, args)) if command == "epoch" => {
            service::exit_code(SERVICE, chat_service::execute_epoch(&Env::of_process(), args).await)
        }
        _ => service::main(SERVICE, Config::read, chat_service::app).await,
    }
}
