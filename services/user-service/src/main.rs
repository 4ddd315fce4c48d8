//! user-service: accounts, sessions, profiles, search of people, presence.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    common::platform::main(user_service::SERVICE, user_service::Config::read, user_service::app).await
}
