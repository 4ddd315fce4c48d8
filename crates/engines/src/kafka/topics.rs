//! The topics and their creation.

use std::time::Duration;

use common::error::Error as CommonError;
use common::events::topics::TopicNames;
use platform::config::KafkaConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use crate::error::{Error, Result};
use crate::kafka::client::{self, misconfigured};

/// A topic of the contract (§10).
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// The default name.
    pub name: &'static str,
    /// The number of partitions.
    pub partitions: i32,
    /// How long brokers keep a record.
    pub retention: Duration,
}

/// How long the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = HOUR.saturating_mul(24);
const WEEK: Duration = DAY.saturating_mul(7);
const MONTH: Duration = DAY.saturating_mul(30);

/// All topics. Records are ordered per partition, so the numbers of partitions must not be raised later.
pub const TOPICS: [Topic; 11] = [
    Topic { name: "user.events", partitions: 3, retention: WEEK },
    Topic { name: "user.online_status", partitions: 6, retention: HOUR },
    Topic { name: "friend.events", partitions: 3, retention: WEEK },
    Topic { name: "message.events", partitions: 10, retention: WEEK },
    Topic { name: "chat.events", partitions: 3, retention: WEEK },
    // No service consumes it, so it has no dead letters.
    Topic { name: "notification.events", partitions: 3, retention: WEEK },
    Topic { name: "user.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "user.online_status.dlq", partitions: 1, retention: MONTH },
    Topic { name: "friend.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "message.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "chat.events.dlq", partitions: 1, retention: MONTH },
];

impl Topic {
    /// The name of the topic among configured names.
    pub fn name_in(&self, names: &TopicNames) -> String {
        let (name, is_dlq) = match self.name.strip_suffix(".dlq") {
            Some(name) => (name, true),
            None => (self.name, false),
        };
        let defaults = TopicNames::default();
        let configured = defaults.all().into_iter().zip(names.all()).find(|(default, _)| *default == name);
        let name = configured.map_or(name, |(_, configured)| configured);
        if is_dlq { TopicNames::dead_letters(name) } else { name.to_owned() }
    }
}

/// Creates the missing topics and corrects `retention.ms` and `min.insync.replicas` of the others. It can be repeated, also with
/// another replication, which existing topics do not get.
///
/// # Errors
/// Returns an unavailable error if the brokers do not answer within 30 s or reject a topic.
pub async fn create(config: &KafkaConfig, replication: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client::settings(config).create().map_err(misconfigured)?;
    let wanted: Vec<Wanted> = TOPICS.iter().map(|topic| Wanted::new(topic, &config.topics, replication)).collect();

    let topics: Vec<NewTopic> = wanted.iter().map(|topic| topic.new_topic(replication)).collect();
    let mut existing = Vec::new();
    for (made, topic) in admin.create_topics(&topics, &options()).await?.into_iter().zip(&TOPICS) {
        match made {
            Ok(name) => tracing::info!(topic = name, partitions = topic.partitions, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => existing.push(topic),
            Err((name, code)) => return Err(unavailable(format!("cannot create {name}: {code}"))),
        }
    }
    for topic in existing {
        let copies = copies(&admin, &topic.name_in(&config.topics))?;
        Wanted::new(topic, &config.topics, copies.unwrap_or(replication)).correct(&admin).await?;
    }
    Ok(())
}

/// The number of copies of a topic. If `min.insync.replicas` is greater, brokers before Kafka 4 acknowledge no record.
fn copies(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<Option<i32>> {
    let metadata = admin.inner().fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    Ok(partitions.map(|partition| partition.replicas().len() as i32).min())
}

fn unavailable(problem: String) -> Error {
    CommonError::unavailable("kafka", problem).into()
}

fn options() -> AdminOptions {
    let timeout = Some(TIMEOUT);
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}

/// A topic with the settings that it should have on these brokers.
struct Wanted {
    name: String,
    partitions: i32,
    settings: [(&'static str, String); 2],
}

impl Wanted {
    fn new(topic: &Topic, names: &TopicNames, replication: i32) -> Self {
        // Writes continue without one replica, and not without two: acknowledged records are on two disks.
        let in_sync = replication.min(2);
        Self {
            name: topic.name_in(names),
            partitions: topic.partitions,
            settings: [
                ("retention.ms", topic.retention.as_millis().to_string()),
                ("min.insync.replicas", in_sync.to_string()),
            ],
        }
    }

    fn new_topic(&self, replication: i32) -> NewTopic<'_> {
        let topic = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(replication));
        self.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    }

    async fn correct(&self, admin: &AdminClient<DefaultClientContext>) -> Result<()> {
        let described = admin.describe_configs(&[ResourceSpecifier::Topic(&self.name)], &options()).await;
        let Some(Ok(current)) = described?.into_iter().next() else {
            return Err(unavailable(format!("cannot read the settings of {}", self.name)));
        };
        let value = |key| current.get(key).and_then(|entry| entry.value.as_deref());
        if self.settings.iter().all(|(key, wanted)| value(key) == Some(wanted)) {
            return Ok(());
        }
        // The request replaces all settings of the topic, so it repeats those that an operator has set.
        let own = current.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let kept = own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
        let change =
            kept.fold(AlterConfig::new(ResourceSpecifier::Topic(&self.name)), |c, (key, value)| c.set(key, value));
        let change = self.settings.iter().fold(change, |change, (key, value)| change.set(key, value));
        for altered in admin.alter_configs(&[change], &options()).await? {
            altered.map_err(|(_, code)| unavailable(format!("cannot change {}: {code}", self.name)))?;
        }
        tracing::info!(topic = self.name, "topic settings corrected");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_and_its_dead_letters_get_the_prefix() {
        let names = TopicNames::prefixed("t1.");
        let all: Vec<String> = TOPICS.iter().map(|topic| topic.name_in(&names)).collect();
        assert_eq!(all[0], "t1.user.events");
        assert_eq!(all[9], "t1.message.events.dlq");
        assert!(all.iter().all(|name| name.starts_with("t1.")), "{all:?}");
    }
}
