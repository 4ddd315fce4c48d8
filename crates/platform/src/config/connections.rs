//! The connections of a service: to its clients, the stores, the broker and other services.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::uri::Authority;
use common::config::{ConfigError, Env, error};
use common::events::topics::TopicNames;
use secrecy::SecretString;

use super::security::{KafkaSecurity, PLACEHOLDER};
use crate::http::CallTls;

/// The bounds of the connections of the HTTP server. The time of an answer has no bound, because a stream is one.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// `HTTP_HEADER_TIMEOUT`: the longest time from a new or idle connection to the end of the next request's header, by
    /// default 10 s.
    pub header: Duration,
    /// `HTTP_BODY_TIMEOUT`: the longest time from the header of a request to the end of its body, by default 30 s.
    pub body: Duration,
    /// `HTTP_WRITE_TIMEOUT`: the longest time without progress while a client does not read an answer, by default 30 s.
    pub write: Duration,
    /// `HTTP_MAX_CONNECTIONS`: the greatest number of open connections, by default 20,000. One more is closed at once.
    pub open: usize,
}

/// The brokers and topics of Kafka.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `KAFKA_BOOTSTRAP_SERVERS`: `host:port`, comma-separated.
    pub bootstrap: String,
    /// `KAFKA_SECURITY_PROTOCOL` and its siblings: encryption and login.
    pub security: KafkaSecurity,
    /// `KAFKA_COMPRESSION`: `gzip` by default, the only one that aiokafka reads without extras.
    pub compression: String,
    /// `KAFKA_TOPIC_*`: the names of the topics.
    pub topics: TopicNames,
    /// The name of this client in the brokers' logs and quotas: the service.
    pub client_id: String,
}

impl KafkaConfig {
    /// Reads the variables of Kafka for this service.
    ///
    /// # Errors
    /// Returns an error if the security settings are incomplete or contradict each other, or for an unknown compression.
    pub fn read(env: &Env, service: &'static str) -> Result<Self, ConfigError> {
        Ok(Self {
            bootstrap: env.text("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
            security: KafkaSecurity::read(env)?,
            compression: compression(env)?,
            topics: topic_names(env),
            client_id: service.to_owned(),
        })
    }
}

/// The client is built without zstd.
fn compression(env: &Env) -> Result<String, ConfigError> {
    match env.text("KAFKA_COMPRESSION", "gzip").to_lowercase() {
        known if ["none", "gzip", "snappy", "lz4"].contains(&known.as_str()) => Ok(known),
        other => Err(error("KAFKA_COMPRESSION", format!("{other:?} is neither none, gzip, snappy nor lz4"))),
    }
}

/// The calls to other services.
#[derive(Clone, Debug)]
pub struct CallConfig {
    /// `HTTP_TIMEOUT`: how long a call may take, by default 10 s.
    pub timeout: Duration,
    /// `CALLS_CA_FILE`: the authorities of `https://` URLs, by default the public ones.
    pub tls: CallTls,
}

impl CallConfig {
    pub(super) fn read(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self { timeout: env.seconds("HTTP_TIMEOUT", 10, 1..=300)?, tls: CallTls::read(env, "CALLS_CA_FILE")? })
    }
}

/// The receiver of spans. The variables are those of the OpenTelemetry SDK.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base URL, without `/v1/traces`.
    pub endpoint: String,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: the authorities of an `https://` URL, by default the public ones.
    pub tls: CallTls,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: the longest time for a request, in milliseconds, by default 10 s.
    pub timeout: Duration,
}

impl OtlpConfig {
    pub(super) fn read(env: &Env) -> Result<Option<Self>, ConfigError> {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let tls = CallTls::read(env, "OTEL_EXPORTER_OTLP_CERTIFICATE")?;
        let timeout = Duration::from_millis(env.number("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 1..=300_000)?);
        env.get(ENDPOINT).map(|_| Ok(Self { endpoint: service_url(env, ENDPOINT, "")?, tls, timeout })).transpose()
    }
}

/// Passwords of stores in the compose files, which are the original's. Without `DEBUG` they lead to a warning: an original's
/// environment starts the services as it is.
pub const PUBLIC_PASSWORDS: [&str; 3] = ["chatpassword", "rootpassword", "adminpassword"];

/// The variables that contain a password of a store, alone or in a URL.
const WITH_PASSWORD: [&str; 8] = [
    "KAFKA_SASL_PASSWORD",
    "MONGODB_PASSWORD",
    "MONGODB_URL",
    "MONGO_URL",
    "MYSQL_PASSWORD",
    "MYSQL_URL",
    "REDIS_PASSWORD",
    "REDIS_URL",
];

/// Browsers send credentials only to origins that are named, so `*` cannot work.
pub(super) fn cors_origins(env: &Env) -> Result<Vec<HeaderValue>, ConfigError> {
    const NAME: &str = "CORS_ORIGINS";
    let origins: Vec<String> = env.list(NAME, "http://localhost:3000")?;
    let read = |origin: &String| match origin.parse() {
        _ if origin == "*" => Err(error(NAME, "cannot be *, because requests carry credentials; name the origins")),
        Ok(header) if is_origin(origin) => Ok(header),
        _ => Err(error(NAME, format!("{origin:?} is not scheme://host or scheme://host:port in lower case"))),
    };
    origins.iter().map(read).collect()
}

/// Whether a text is an origin as browsers send it. They compare the whole text, so a path or a slash at the end would
/// match no page.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let Ok(authority) = rest.parse::<Authority>() else { return false };
    let has_user = rest.contains('@');
    let has_valid_port = rest == authority.host() || authority.port_u16().is_some();
    !scheme.is_empty() && !authority.host().is_empty() && !has_user && has_valid_port && text == text.to_lowercase()
}

/// `MYSQL_URL`, or `MYSQL_HOST` and its siblings.
///
/// # Errors
/// Returns an error if the URL is missing or of another database, or has the placeholder as its password without `DEBUG`.
pub fn mysql_url(env: &Env) -> Result<SecretString, ConfigError> {
    let (name, url) = match env.get("MYSQL_URL") {
        Some(url) => ("MYSQL_URL", url.to_owned()),
        None => {
            let host = env.required("MYSQL_HOST");
            let url = format!(
                "mysql://{}:{}@{}:{}/{}",
                env.text("MYSQL_USER", "root"),
                env.text("MYSQL_PASSWORD", ""),
                host.map_err(|_| error("MYSQL_URL", "is required and not set, nor is MYSQL_HOST"))?,
                env.parse("MYSQL_PORT", 3306_u16)?,
                env.text("MYSQL_DATABASE", "bigtech_chat"),
            );
            ("MYSQL_PASSWORD", url)
        }
    };
    let url = url.replacen("mysql+aiomysql://", "mysql://", 1);
    if !url.starts_with("mysql://") {
        return Err(error("MYSQL_URL", "does not begin with mysql:// or mysql+aiomysql://"));
    }
    with_own_password(env, name, url)
}

pub(super) fn redis_url(env: &Env) -> Result<SecretString, ConfigError> {
    let (name, url) = match env.get("REDIS_URL") {
        Some(url) => ("REDIS_URL", url.to_owned()),
        None => {
            let user = env.text("REDIS_USER", "");
            let login = env.get("REDIS_PASSWORD").map(|password| format!("{user}:{password}@")).unwrap_or_default();
            let host = env.text("REDIS_HOST", "localhost");
            ("REDIS_PASSWORD", format!("redis://{login}{host}:{}/0", env.parse("REDIS_PORT", 6379_u16)?))
        }
    };
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(error("REDIS_URL", "does not begin with redis:// or rediss://"));
    }
    with_own_password(env, name, url)
}

/// The URL of a store, unless its password is the placeholder.
fn with_own_password(env: &Env, name: &str, url: String) -> Result<SecretString, ConfigError> {
    if !env.flag("DEBUG", false)? && password_in(&url) == Some(PLACEHOLDER) {
        return Err(error(name, "has the placeholder as its password; set a password of your own, or DEBUG=true"));
    }
    Ok(url.into())
}

/// Whether a store's password is one that public files contain.
pub(super) fn has_public_password(env: &Env) -> bool {
    let values = WITH_PASSWORD.into_iter().filter_map(|name| env.get(name));
    values.map(|value| password_in(value).unwrap_or(value)).any(|password| PUBLIC_PASSWORDS.contains(&password))
}

fn password_in(url: &str) -> Option<&str> {
    // A host has no `@`, but a password that is not escaped may.
    let (_, rest) = url.split_once("://")?;
    let (login, _) = rest.rsplit_once('@')?;
    login.split_once(':').map(|(_, password)| password)
}

/// `MONGO_URL` (or `MONGODB_URL`, or `MONGODB_HOST` and its siblings) and `MONGODB_DB_NAME`, for the service that uses
/// MongoDB.
///
/// # Errors
/// Returns an error if the URL is missing or of another database, or has the placeholder as its password without `DEBUG`.
pub fn mongo(env: &Env) -> Result<(SecretString, String), ConfigError> {
    let whole = ["MONGO_URL", "MONGODB_URL"].into_iter().find_map(|name| Some((name, env.get(name)?.to_owned())));
    let (name, url) = match whole {
        Some(whole) => whole,
        None => {
            let host = env.required("MONGODB_HOST");
            let host = host.map_err(|_| error("MONGO_URL", "is required and not set, nor is MONGODB_HOST"))?;
            let login = match (env.get("MONGODB_USER"), env.get("MONGODB_PASSWORD")) {
                (Some(user), Some(password)) => format!("{user}:{password}@"),
                _ => String::new(),
            };
            ("MONGODB_PASSWORD", format!("mongodb://{login}{host}:{}/", env.parse("MONGODB_PORT", 27017_u16)?))
        }
    };
    if !url.starts_with("mongodb://") && !url.starts_with("mongodb+srv://") {
        return Err(error("MONGO_URL", "does not begin with mongodb:// or mongodb+srv://"));
    }
    Ok((with_own_password(env, name, url)?, env.text("MONGODB_DB_NAME", "bigtech_chat")))
}

/// The base URL of another service, without a trailing slash.
///
/// # Errors
/// Returns an error if the URL does not begin with `http://` or `https://`.
pub fn service_url(env: &Env, name: &str, default: &str) -> Result<String, ConfigError> {
    let url = env.text(name, default);
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(error(name, "does not begin with http:// or https://"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn topic_names(env: &Env) -> TopicNames {
    let names = TopicNames::default();
    TopicNames {
        user_events: env.text("KAFKA_TOPIC_USER_EVENTS", &names.user_events),
        user_online_status: env.text("KAFKA_TOPIC_USER_ONLINE_STATUS", &names.user_online_status),
        friend_events: env.text("KAFKA_TOPIC_FRIEND_EVENTS", &names.friend_events),
        message_events: env.text("KAFKA_TOPIC_MESSAGE_EVENTS", &names.message_events),
        chat_events: env.text("KAFKA_TOPIC_CHAT_EVENTS", &names.chat_events),
        notification_events: env.text("KAFKA_TOPIC_NOTIFICATION_EVENTS", &names.notification_events),
    }
}
