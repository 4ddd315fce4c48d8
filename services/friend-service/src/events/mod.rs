//! The events that friend-service consumes: names for its lists, and changes that end cached profiles.

mod names;
mod profiles;

use common::error::BoxError;
use engines::kafka::consumer::Consumer;
use engines::kafka::producer::Producer;
use engines::kafka::tail::Tail;
use platform::Platform;
use service::clients::user::UserClient;

use crate::store::Names;

/// The consumer group of the projection of names. Replicas share the partitions.
const NAMES_GROUP: &str = "friend-service-names";

/// Starts both consumers, which run until the shutdown.
pub fn start(platform: &Platform, producer: &Producer, names: Names, users: UserClient) -> Result<(), BoxError> {
    let config = &platform.config;
    let (kafka, topics) = (&config.kafka, &config.kafka.topics);
    let group = format!("{}{NAMES_GROUP}", config.kafka_group_prefix);
    let consumer = Consumer::new(kafka, producer, &group, &[&topics.user_events], names::Projection::new(names))?;
    let stopping = platform.shutdown.stopping_token();
    platform.shutdown.spawn(consumer.run(stopping.clone()));

    let tail = Tail::start(kafka, producer, &[&topics.user_events, &topics.user_online_status], stopping)?;
    platform.shutdown.spawn(profiles::refresh(users, tail));
    Ok(())
}
