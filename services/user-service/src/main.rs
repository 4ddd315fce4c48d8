//! The binary of user-service: accounts, sessions, profiles, the search for users, presence.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(user_service::SERVICE, &[], user_service::Config::read, user_service::app).await
}
