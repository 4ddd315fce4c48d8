//! The topics, and the step that creates them.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;

use crate::error::{Error, Result};
use crate::events::Stream;
use crate::kafka::{failed, misconfigured};

/// A topic as the contract (§10) wants it.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    pub name: &'static str,
    pub partitions: i32,
    pub retention: Duration,
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = HOUR.saturating_mul(24);
const WEEK: Duration = DAY.saturating_mul(7);
const MONTH: Duration = DAY.saturating_mul(30);

/// The order in one topic is per partition, so the numbers of partitions are not to be raised later.
pub const TOPICS: [Topic; 11] = [
    Topic { name: "user.events", partitions: 3, retention: WEEK },
    Topic { name: "user.online_status", partitions: 6, retention: HOUR },
    Topic { name: "friend.events", partitions: 3, retention: WEEK },
    Topic { name: "message.events", partitions: 10, retention: WEEK },
    Topic { name: "chat.events", partitions: 3, retention: WEEK },
    // Nobody's yet; the original creates it.
    Topic { name: "notification.events", partitions: 3, retention: WEEK },
    Topic { name: "user.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "user.online_status.dlq", partitions: 1, retention: MONTH },
    Topic { name: "friend.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "message.events.dlq", partitions: 1, retention: MONTH },
    Topic { name: "chat.events.dlq", partitions: 1, retention: MONTH },
];

/// What the topics are called here: `KAFKA_TOPIC_*`, or a test's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    pub user_events: String,
    pub user_online_status: String,
    pub friend_events: String,
    pub message_events: String,
    pub chat_events: String,
}

impl Default for TopicNames {
    fn default() -> Self {
        Self::prefixed("")
    }
}

impl TopicNames {
    /// Topics of a test's own.
    pub fn prefixed(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            user_events: name("user.events"),
            user_online_status: name("user.online_status"),
            friend_events: name("friend.events"),
            message_events: name("message.events"),
            chat_events: name("chat.events"),
        }
    }

    pub fn of(&self, stream: Stream) -> &str {
        match stream {
            Stream::UserEvents => &self.user_events,
            Stream::UserOnlineStatus => &self.user_online_status,
            Stream::FriendEvents => &self.friend_events,
            Stream::MessageEvents => &self.message_events,
            Stream::ChatEvents => &self.chat_events,
        }
    }

    /// Where the poison records of a topic go.
    pub fn dead_letters(topic: &str) -> String {
        format!("{topic}.dlq")
    }

    /// The name here of one of [`TOPICS`].
    pub fn named(&self, topic: &Topic) -> String {
        let (name, is_dlq) = match topic.name.strip_suffix(".dlq") {
            Some(name) => (name, true),
            None => (topic.name, false),
        };
        let name = match name {
            "user.events" => &self.user_events,
            "user.online_status" => &self.user_online_status,
            "friend.events" => &self.friend_events,
            "message.events" => &self.message_events,
            "chat.events" => &self.chat_events,
            other => other,
        };
        if is_dlq { Self::dead_letters(name) } else { name.to_owned() }
    }
}

/// Creates what is missing, and brings retention and min.insync.replicas of what is there in line. Can be repeated.
pub async fn create(bootstrap: &str, names: &TopicNames, replication: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().map_err(misconfigured)?;
    let wanted: Vec<Wanted> = TOPICS.iter().map(|topic| Wanted::new(topic, names, replication)).collect();

    let topics: Vec<NewTopic> = wanted.iter().map(|topic| topic.new_topic(replication)).collect();
    let mut existing = Vec::new();
    for (made, topic) in admin.create_topics(&topics, &options()).await.map_err(failed)?.into_iter().zip(&wanted) {
        match made {
            Ok(_) => tracing::info!(topic = topic.name, partitions = topic.partitions, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => existing.push(topic),
            Err((name, code)) => return Err(Error::unavailable("kafka", format!("cannot create {name}: {code}"))),
        }
    }
    for topic in existing {
        topic.bring_in_line(&admin).await?;
    }
    Ok(())
}

fn options() -> AdminOptions {
    let patience = Some(Duration::from_secs(30));
    AdminOptions::new().request_timeout(patience).operation_timeout(patience)
}

/// A topic as it should be on these brokers.
struct Wanted {
    name: String,
    partitions: i32,
    settings: [(&'static str, String); 2],
}

impl Wanted {
    fn new(topic: &Topic, names: &TopicNames, replication: i32) -> Self {
        // One replica may be away and writes go on; two may not: what is acknowledged is on two disks.
        let in_sync = replication.min(2);
        Self {
            name: names.named(topic),
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

    async fn bring_in_line(&self, admin: &AdminClient<DefaultClientContext>) -> Result<()> {
        let described = admin.describe_configs(&[ResourceSpecifier::Topic(&self.name)], &options()).await;
        let Some(Ok(current)) = described.map_err(failed)?.into_iter().next() else {
            return Err(Error::unavailable("kafka", format!("cannot read the settings of {}", self.name)));
        };
        let is = |key| current.get(key).and_then(|entry| entry.value.as_deref());
        if self.settings.iter().all(|(key, value)| is(key) == Some(value)) {
            return Ok(());
        }
        // The request replaces all settings of the topic, an operator's own among them, so those are said again.
        let own = current.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let kept = own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
        let change =
            kept.fold(AlterConfig::new(ResourceSpecifier::Topic(&self.name)), |c, (key, value)| c.set(key, value));
        let change = self.settings.iter().fold(change, |change, (key, value)| change.set(key, value));
        for altered in admin.alter_configs(&[change], &options()).await.map_err(failed)? {
            altered.map_err(|(_, code)| Error::unavailable("kafka", format!("cannot change {}: {code}", self.name)))?;
        }
        tracing::info!(topic = self.name, "topic settings brought in line");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_gets_the_prefix_and_its_dead_letters_too() {
        let names = TopicNames::prefixed("t1.");
        let all: Vec<String> = TOPICS.iter().map(|topic| names.named(topic)).collect();
        assert_eq!(all[0], "t1.user.events");
        assert_eq!(all[9], "t1.message.events.dlq");
        assert_eq!(all.iter().filter(|name| name.starts_with("t1.")).count(), 10, "all but the notifications");
    }
}
