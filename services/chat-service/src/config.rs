//! The settings of chat-service, in addition to those of all services.

use std::path::PathBuf;
use std::time::Duration;

use common::config::{ConfigError, Env};
use engines::object_store::ObjectStoreConfig;
use secrecy::SecretString;

use crate::attachments::ScanConfig;
use crate::domain::{FileLimits, MessageLimit};
use crate::live::{StreamLimits, Usage};
use crate::store::{LeavePeriod, RoomLimit};

#[derive(Clone, Debug)]
pub struct Config {
    pub mongo_url: SecretString,
    pub mongo_database: String,
    pub user_service_url: String,
    pub friend_service_url: String,
    /// Lifetime of a cached profile.
    pub user_cache_ttl: Duration,
    /// Interval of the comments that keep idle streams open.
    pub keep_alive: Duration,
    /// The greatest age of a stream, more or less by a fifth; `None` for none.
    pub stream_max_age: Option<Duration>,
    /// Limit on the open streams of one user at one replica.
    pub streams_per_user: u64,
    /// Limit on the open streams of one client network at one replica; 0 is no limit.
    pub streams_per_network: u64,
    /// Limit on the rooms that all streams of one replica read.
    pub stream_rooms: u64,
    /// Limit on the memory of the newest events of all rooms with open streams.
    pub stream_window_bytes: u64,
    /// How long nobody can add a user again who left a group by themselves.
    pub leave_period: LeavePeriod,
    /// How long messages are kept; `None` keeps them for ever.
    pub retention: Option<Duration>,
    pub message_limit: MessageLimit,
    pub room_limit: RoomLimit,
    pub write_limits: WriteLimits,
    /// Where files are stored; `None` disables attachments.
    pub file_store: Option<ObjectStoreConfig>,
    pub file_limits: FileLimits,
    /// Where files are scanned; `None` for nowhere.
    pub file_scanner: Option<ScanConfig>,
    /// This program, which decodes pictures in a process of its own.
    pub picture_program: PathBuf,
}

/// The writes of a user in a minute; 0 is no limit.
#[derive(Clone, Debug)]
pub struct WriteLimits {
    /// Messages sent.
    pub messages: u64,
    /// Edits, deletions, reactions, read marks, typing notifications and tickets.
    pub changes: u64,
    /// Rooms created, and changes of their members.
    pub rooms: u64,
}

impl Config {
    /// The limits on the streams of a replica that accepts `connections` connections. A fifth of these is left to other requests. A
    /// user can hold four streams with all of their rooms, and a network a quarter of all rooms.
    pub fn stream_limits(&self, connections: usize) -> StreamLimits {
        let (streams, rooms) = (self.streams_per_network, self.stream_rooms / 4);
        StreamLimits {
            user: Usage { streams: self.streams_per_user, rooms: self.room_limit.0 * 4 },
            network: (streams > 0).then_some(Usage { streams, rooms }),
            replica: Usage { streams: connections as u64 * 4 / 5, rooms: self.stream_rooms },
        }
    }

    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        let (mongo_url, mongo_database) = platform::config::mongo(env)?;
        Ok(Self {
            mongo_url,
            mongo_database,
            user_service_url: platform::config::service_url(env, "USER_SERVICE_URL", "http://localhost:8005")?,
            friend_service_url: platform::config::service_url(env, "FRIEND_SERVICE_URL", "http://localhost:8003")?,
            user_cache_ttl: env.seconds("CACHE_TTL_USER_PROFILE", 300, 1..=86_400)?,
            keep_alive: env.seconds("SSE_KEEPALIVE_SECONDS", 30, 1..=300)?,
            stream_window_bytes: env.number("STREAM_WINDOW_BYTES", 64 << 20, 1..=1 << 36)?,
            stream_max_age: match env.number("STREAM_MAX_AGE_SECONDS", 1_800, 0..=604_800)? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            streams_per_user: env.number("STREAMS_PER_USER", 20, 1..=100_000)?,
            streams_per_network: env.number("STREAMS_PER_NETWORK", 4_000, 0..=1_000_000)?,
            stream_rooms: env.number("STREAM_ROOMS", 3_000_000, 1_000..=1_000_000_000)?,
            leave_period: LeavePeriod(env.number("GROUP_LEAVE_DAYS", 30, 0..=3_650)?),
            retention: match env.number("HISTORY_RETENTION_DAYS", 0, 0..=36_500)? {
                0 => None,
                days => Some(Duration::from_secs(days * 24 * 3_600)),
            },
            message_limit: MessageLimit(env.number("MESSAGE_MAX_CHARS", 300, 1..=10_000)? as usize),
            room_limit: RoomLimit(env.number("ROOMS_PER_USER", 5_000, 1..=1_000_000)?),
            write_limits: WriteLimits {
                messages: env.number("WRITE_LIMIT_MESSAGES", 600, 0..=1_000_000)?,
                changes: env.number("WRITE_LIMIT_CHANGES", 600, 0..=1_000_000)?,
                rooms: env.number("WRITE_LIMIT_ROOMS", 60, 0..=1_000_000)?,
            },
            file_store: ObjectStoreConfig::read(env)?,
            file_limits: file_limits(env)?,
            file_scanner: ScanConfig::read(env)?,
            picture_program: env.text("PICTURE_PROGRAM", "/proc/self/exe").into(),
        })
    }
}

/// One PUT of S3 stores at most 5 GiB.
const MAX_FILE_BYTES: u64 = 5 << 30;

fn file_limits(env: &Env) -> Result<FileLimits, ConfigError> {
    // A picture is read into memory as a whole.
    let image_bytes = env.number("FILE_MAX_IMAGE_BYTES", 25_000_000, 1..=50_000_000)?;
    let types = env.list("FILE_TYPES", "application/*,audio/*,font/*,image/*,text/*,video/*")?;
    Ok(FileLimits {
        image_bytes,
        file_bytes: env.number("FILE_MAX_BYTES", 100_000_000, 1..=MAX_FILE_BYTES)?,
        quota_bytes: env.number("FILE_QUOTA_BYTES", 1_000_000_000, 1..=1 << 50)?,
        types,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<Config, ConfigError> {
        Config::read(&Env::of([("MONGO_URL", "mongodb://mongodb".to_owned()), (name, value.to_owned())]))
    }

    #[test]
    fn no_honest_client_meets_the_limits() {
        let config = read("LOG_LEVEL", "info").unwrap();
        assert_eq!((config.streams_per_user, config.streams_per_network, config.room_limit.0), (20, 4_000, 5_000));
        assert_eq!((config.message_limit.0, config.leave_period.0, config.retention), (300, 30, None));
        let WriteLimits { messages, changes, rooms } = config.write_limits;
        assert_eq!((messages, changes, rooms), (600, 600, 60));
        assert_eq!(config.stream_window_bytes, 64 * 1_024 * 1_024);
        assert!(config.file_store.is_none(), "attachments are disabled");
        let FileLimits { image_bytes, file_bytes, quota_bytes, .. } = config.file_limits;
        assert_eq!((image_bytes, file_bytes, quota_bytes), (25_000_000, 100_000_000, 1_000_000_000));
    }

    #[test]
    fn a_message_has_at_most_ten_thousand_characters() {
        assert_eq!(read("MESSAGE_MAX_CHARS", "10000").unwrap().message_limit, MessageLimit(10_000));
        for invalid in ["0", "10001", "x"] {
            assert!(read("MESSAGE_MAX_CHARS", invalid).is_err(), "{invalid}");
        }
    }
}
