//! The gateway: applies kong.yml as Kong does, and does not start on a setting that it does not support.

mod config;
mod headers;
mod limit;
mod process;
mod proxy;
mod response;
mod route;
mod server;

pub use process::start;
pub use server::serve;

#[cfg(test)]
mod tests;
