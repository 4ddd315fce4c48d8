//! The names of the Kafka topics that carry the events.

use super::Stream;

/// The names of the topics, from `KAFKA_TOPIC_*` or with the prefix of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    /// The topic of [`Stream::UserEvents`].
    pub user_events: String,
    /// The topic of [`Stream::UserOnlineStatus`].
    pub user_online_status: String,
    /// The topic of [`Stream::FriendEvents`].
    pub friend_events: String,
    /// The topic of [`Stream::MessageEvents`].
    pub message_events: String,
    /// The topic of [`Stream::ChatEvents`].
    pub chat_events: String,
    /// The topic of [`Stream::NotificationEvents`].
    pub notification_events: String,
}

impl Default for TopicNames {
    fn default() -> Self {
        Self::prefixed("")
    }
}

impl TopicNames {
    /// The default names with a prefix, so that tests share brokers.
    pub fn prefixed(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            user_events: name("user.events"),
            user_online_status: name("user.online_status"),
            friend_events: name("friend.events"),
            message_events: name("message.events"),
            chat_events: name("chat.events"),
            notification_events: name("notification.events"),
        }
    }

    /// The topic of a stream.
    pub fn of(&self, stream: Stream) -> &str {
        match stream {
            Stream::UserEvents => &self.user_events,
            Stream::UserOnlineStatus => &self.user_online_status,
            Stream::FriendEvents => &self.friend_events,
            Stream::MessageEvents => &self.message_events,
            Stream::ChatEvents => &self.chat_events,
            Stream::NotificationEvents => &self.notification_events,
        }
    }

    /// The topics of all streams.
    pub fn all(&self) -> [&str; 6] {
        let [user, status, friend, message, chat] = self.consumed();
        [user, status, friend, message, chat, &self.notification_events]
    }

    /// The topics that services consume. Each has a topic of dead letters.
    pub fn consumed(&self) -> [&str; 5] {
        [&self.user_events, &self.user_online_status, &self.friend_events, &self.message_events, &self.chat_events]
    }

    /// The topic of the dead letters of `topic`: the records that no consumer could process.
    pub fn dead_letters(topic: &str) -> String {
        format!("{topic}.dlq")
    }
}
