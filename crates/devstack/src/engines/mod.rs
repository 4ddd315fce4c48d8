//! The real engines, side by side: MySQL, MongoDB, Redis, Kafka.

pub mod apache_kafka;
pub mod embedded_kafka;
pub mod kafka;
pub mod mongodb;
pub mod mysql;
pub mod redis;

use anyhow::Result;
use futures_util::future::try_join4;

use crate::install;
use crate::stack::Stack;

/// Starts all engines and returns Kafka's bootstrap servers.
pub async fn start(stack: &Stack) -> Result<String> {
    install::all(&[install::MYSQL, install::REDIS]).await?;
    let ((), (), (), bootstrap) =
        try_join4(mysql::start(stack), mongodb::start(stack), redis::start(stack), kafka::start(stack)).await?;
    Ok(bootstrap)
}
