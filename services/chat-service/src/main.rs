//! The program of chat-service.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(chat_service::SERVICE, chat_service::Config::read, chat_service::app).await
}
