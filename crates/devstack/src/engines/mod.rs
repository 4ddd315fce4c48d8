//! The real engines, side by side: MySQL, MongoDB, Redis, Kafka.

mod apache_kafka;
mod embedded_kafka;
mod kafka;
pub mod mongodb;
pub mod mysql;
pub mod redis;

use anyhow::Result;
use futures_util::future::try_join4;

pub use kafka::Kafka;

use crate::install;
use crate::stack::Stack;

pub async fn start(stack: &Stack) -> Result<Kafka> {
    install::all(&[install::MYSQL, install::REDIS]).await?;
    let ((), (), (), kafka) =
        try_join4(mysql::start(stack), mongodb::start(stack), redis::start(stack), kafka::start(stack)).await?;
    Ok(kafka)
}
