//! The real engines, which start side by side: MySQL, MongoDB, Redis and Kafka.

mod apache_kafka;
mod embedded_kafka;
mod full_disk;
mod kafka;
mod kafka_installation;
mod maven;
pub mod mongodb;
pub mod mysql;
pub mod redis;
mod replica_set;

use anyhow::Result;
use futures_util::future::try_join4;

pub use kafka::KafkaCluster;

use crate::install;
use crate::stack::Stack;

pub async fn start(stack: &Stack) -> Result<KafkaCluster> {
    install::ensure(&[install::MYSQL, install::REDIS]).await?;
    full_disk::prepare(&stack.plan).await?;
    let ((), (), (), kafka) =
        try_join4(mysql::start(stack), mongodb::start(stack), redis::start(stack), kafka::start(stack)).await?;
    Ok(kafka)
}
