//! The program of friend-service.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(friend_service::SERVICE, &[], friend_service::Config::read, friend_service::app).await
}
