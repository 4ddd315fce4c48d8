//! The real engines, which start side by side: MySQL, MongoDB, Redis, Kafka and the object store.

mod apache_kafka;
mod embedded_kafka;
mod full_disk;
mod kafka;
mod kafka_installation;
mod maven;
pub mod mongodb;
pub mod mysql;
pub mod object_store;
pub mod redis;
mod replica_set;

use anyhow::Result;
use futures_util::future::{try_join, try_join4};

pub use kafka::KafkaCluster;

use crate::install;
use crate::stack::Stack;

pub async fn start(stack: &Stack) -> Result<KafkaCluster> {
    install::ensure(&[install::MYSQL, install::REDIS]).await?;
    full_disk::prepare(&stack.plan).await?;
    let (databases, redis) = (try_join(mysql::start(stack), mongodb::start(stack)), redis::start(stack));
    let (_, (), (), kafka) = try_join4(databases, redis, object_store::start(stack), kafka::start(stack)).await?;
    Ok(kafka)
}
