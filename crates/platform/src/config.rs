//! The configuration that all services read.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::HeaderValue;
use common::config::{ConfigError, Env, Network, error};
use common::events::topics::TopicNames;
use common::jwt::{Algorithm, PublicKeys};
use secrecy::{ExposeSecret, SecretString};

/// Secrets that public files contain. They are accepted with `DEBUG` only.
pub const DEVELOPMENT_SECRETS: [&str; 3] = [
    "dev-only-secret-key-do-not-use-in-production",
    "dev-only-service-secret-do-not-use-in-production",
    "dev-only-mfa-secret-key-do-not-use-in-production",
];

/// HS256 needs a key as long as its hash.
const MIN_SECRET_BYTES: usize = 32;

type Result<T> = std::result::Result<T, ConfigError>;

/// The configuration that all services read. Each field names its variable.
#[derive(Clone, Debug)]
pub struct Base {
    /// `HOST`: the address to listen on, by default all.
    pub host: IpAddr,
    /// `PORT`: the port to listen on.
    pub port: u16,
    /// `DEBUG`: readable logs by default, and public secrets are accepted.
    pub debug: bool,
    /// `VERSION`: the version that the API document and a metric show.
    pub version: String,
    /// `LOG_LEVEL`, `LOG_FORMAT`: the log.
    pub log: LogConfig,
    /// `ALGORITHM`: signs access tokens, by default HS256.
    pub algorithm: Algorithm,
    /// `SECRET_KEY`: verifies access tokens of HS256, and signs them if `ALGORITHM` is HS256. None where no such token
    /// is accepted.
    pub secret_key: Option<SecretString>,
    /// `SECRET_KEY_PREVIOUS`: also verifies access tokens of HS256.
    pub secret_key_previous: Option<SecretString>,
    /// `ALLOW_SECRET_KEY_TOKENS`: accepts access tokens of HS256 although `ALGORITHM` is another, as long as an
    /// original runs.
    pub allow_secret_key_tokens: bool,
    /// `JWT_PUBLIC_KEYS_FILE`: verifies access tokens of EdDSA and ES256, in place of the keys that user-service
    /// publishes; in user-service, in addition to its own.
    pub public_keys: Option<PublicKeys>,
    /// `SERVICE_SECRET_KEY`: signs and verifies calls between services. Without it, calls are neither signed nor
    /// accepted.
    pub service_secret_key: Option<SecretString>,
    /// `ALLOW_ANONYMOUS_SERVICE_CALLS`: accepts calls between services without credentials, as the original makes them.
    pub allow_anonymous_service_calls: bool,
    /// `ACCESS_TOKEN_EXPIRE_HOURS`: how long an access token is valid, by default 2 hours.
    pub access_token_lifetime: Duration,
    /// `MYSQL_URL`, or `MYSQL_HOST` and its siblings.
    pub mysql_url: SecretString,
    /// `MYSQL_POOL_SIZE`: the greatest number of connections, by default 16.
    pub mysql_pool_size: u32,
    /// `REDIS_URL`, or `REDIS_HOST` and `REDIS_PORT`.
    pub redis_url: SecretString,
    /// `REDIS_KEY_PREFIX`: precedes every key, so that tests share a server; empty in production.
    pub redis_prefix: String,
    /// `KAFKA_*`: the brokers and topics.
    pub kafka: KafkaConfig,
    /// `KAFKA_GROUP_PREFIX`: precedes the names of consumer groups, so that tests share brokers; empty in production.
    pub kafka_group_prefix: String,
    /// `CORS_ORIGINS`: the origins of browsers that may call the API.
    pub cors_origins: Vec<HeaderValue>,
    /// `TRUSTED_PROXIES`: the proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// `HTTP_HEADER_TIMEOUT`, `HTTP_BODY_TIMEOUT`, `HTTP_MAX_CONNECTIONS`: the bounds of connections.
    pub connections: ConnectionLimits,
    /// `HTTP_TIMEOUT`: how long a call to another service may take, by default 10 s.
    pub http_timeout: Duration,
    /// `ONLINE_TTL_SECONDS`: how long a user is online after the last sign of life, by default 60 s.
    pub online_ttl: Duration,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: receives spans, without `/v1/traces`. Without it, no span is created.
    pub otlp_endpoint: Option<String>,
    /// `SHUTDOWN_SECONDS`: the longest time from SIGTERM to exit, by default 25 s; Kubernetes' grace period is 30 s.
    pub shutdown: Duration,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `LOG_LEVEL`: the directives of the log, by default `info`.
    pub level: String,
    /// `LOG_FORMAT`: one JSON object per line, or readable lines, as by default with `DEBUG`.
    pub json: bool,
}

/// The bounds of the connections of the HTTP server. Answers are not bounded in time, because a stream is one.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// `HTTP_HEADER_TIMEOUT`: the longest time from a new or idle connection to the end of the next request's header, by
    /// default 10 s.
    pub header: Duration,
    /// `HTTP_BODY_TIMEOUT`: the longest time from the header of a request to the end of its body, by default 30 s.
    pub body: Duration,
    /// `HTTP_MAX_CONNECTIONS`: the greatest number of open connections, by default 20,000. One more is closed at once.
    pub open: usize,
}

/// The brokers and topics of Kafka.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `KAFKA_BOOTSTRAP_SERVERS`: `host:port`, comma-separated.
    pub bootstrap: String,
    /// `KAFKA_COMPRESSION`: `gzip` by default, the only one that aiokafka reads without extras.
    pub compression: String,
    /// `KAFKA_TOPIC_*`: the names of the topics.
    pub topics: TopicNames,
    /// The name of this client in the brokers' logs and quotas: the service.
    pub client_id: String,
}

impl LogConfig {
    /// Reads the variables of the log.
    ///
    /// # Errors
    /// Returns an error for a format or a `DEBUG` that does not exist.
    pub fn read(env: &Env) -> Result<Self> {
        let json = log_json(env, !env.flag("DEBUG", false)?)?;
        Ok(Self { level: env.text("LOG_LEVEL", "info").to_lowercase(), json })
    }
}

impl KafkaConfig {
    /// Reads the variables of Kafka for this service.
    pub fn read(env: &Env, service: &'static str) -> Self {
        Self {
            bootstrap: env.text("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
            compression: env.text("KAFKA_COMPRESSION", "gzip"),
            topics: topic_names(env),
            client_id: service.to_owned(),
        }
    }
}

impl Base {
    /// Reads the variables of a service that listens on `port` unless `PORT` has another.
    ///
    /// # Errors
    /// Returns an error for the first variable that is missing or has no valid value.
    pub fn read(env: &Env, service: &'static str, port: u16) -> Result<Self> {
        let debug = env.flag("DEBUG", false)?;
        let algorithm = algorithm(env)?;
        let allow_secret_key_tokens = env.flag("ALLOW_SECRET_KEY_TOKENS", false)?;
        let (secret_key, secret_key_previous) = match algorithm == Algorithm::Hs256 || allow_secret_key_tokens {
            true => {
                let current = env.required("SECRET_KEY").and_then(|v| secret("SECRET_KEY", v, debug))?;
                (Some(current), optional_secret(env, "SECRET_KEY_PREVIOUS", debug)?)
            }
            false => (None, None),
        };
        Ok(Self {
            host: env.parse("HOST", IpAddr::V4(Ipv4Addr::UNSPECIFIED))?,
            port: env.parse("PORT", port)?,
            debug,
            version: env.text("VERSION", env!("CARGO_PKG_VERSION")),
            log: LogConfig::read(env)?,
            algorithm,
            secret_key,
            secret_key_previous,
            allow_secret_key_tokens,
            public_keys: public_keys(env, algorithm)?,
            service_secret_key: service_secret(env, debug)?,
            allow_anonymous_service_calls: env.flag("ALLOW_ANONYMOUS_SERVICE_CALLS", false)?,
            access_token_lifetime: hours(env, "ACCESS_TOKEN_EXPIRE_HOURS", 2)?,
            mysql_url: mysql_url(env)?,
            mysql_pool_size: env.number("MYSQL_POOL_SIZE", 16, 1..=1000)? as u32,
            redis_url: redis_url(env)?,
            redis_prefix: env.text("REDIS_KEY_PREFIX", ""),
            kafka: KafkaConfig::read(env, service),
            kafka_group_prefix: env.text("KAFKA_GROUP_PREFIX", ""),
            cors_origins: cors_origins(env)?,
            trusted_proxies: env.list("TRUSTED_PROXIES", "")?,
            connections: ConnectionLimits {
                header: env.seconds("HTTP_HEADER_TIMEOUT", 10, 1..=300)?,
                body: env.seconds("HTTP_BODY_TIMEOUT", 30, 1..=600)?,
                open: env.number("HTTP_MAX_CONNECTIONS", 20_000, 10..=1_000_000)? as usize,
            },
            http_timeout: env.seconds("HTTP_TIMEOUT", 10, 1..=300)?,
            online_ttl: env.seconds("ONLINE_TTL_SECONDS", 60, 1..=86_400)?,
            otlp_endpoint: otlp_endpoint(env)?,
            shutdown: env.seconds("SHUTDOWN_SECONDS", 25, 3..=600)?,
        })
    }

    /// Sentences about settings that are valid but weak, for the log at start.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.secret_key.as_ref().is_some_and(|secret| secret.expose_secret().len() < MIN_SECRET_BYTES) {
            warnings.push("SECRET_KEY has under 32 bytes: tokens can be forged by guessing it");
        }
        if self.allow_secret_key_tokens && self.algorithm != Algorithm::Hs256 {
            warnings.push("ALLOW_SECRET_KEY_TOKENS is on: whoever has SECRET_KEY can issue tokens of any user");
        }
        if self.service_secret_key.is_none() {
            warnings.push("SERVICE_SECRET_KEY is not set: no service call is signed and none is accepted");
        }
        if self.allow_anonymous_service_calls {
            warnings.push("ALLOW_ANONYMOUS_SERVICE_CALLS is on: anyone who reaches this port may read users in bulk");
        }
        warnings
    }
}

fn hours(env: &Env, name: &str, default: u64) -> Result<Duration> {
    Ok(Duration::from_secs(3600 * env.number(name, default, 1..=24 * 365)?))
}

fn secret(name: &str, value: &str, debug: bool) -> Result<SecretString> {
    if !debug && DEVELOPMENT_SECRETS.contains(&value) {
        return Err(error(name, "is the well-known development value; set a secret of your own, or DEBUG=true"));
    }
    Ok(value.into())
}

/// `ALGORITHM`: the algorithm that signs access tokens, by default HS256.
///
/// # Errors
/// Returns an error for another value than HS256, ES256 and EdDSA.
pub fn algorithm(env: &Env) -> Result<Algorithm> {
    env.parse("ALGORITHM", Algorithm::Hs256)
}

fn public_keys(env: &Env, algorithm: Algorithm) -> Result<Option<PublicKeys>> {
    const NAME: &str = "JWT_PUBLIC_KEYS_FILE";
    let Some(path) = env.get(NAME) else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|e| error(NAME, format!("{path:?} cannot be read: {e}")))?;
    let keys = PublicKeys::from_text(&text).map_err(|e| error(NAME, format!("{path:?} {e}")))?;
    if algorithm != Algorithm::Hs256 && !keys.support(algorithm) {
        return Err(error(NAME, format!("{path:?} contains no key for ALGORITHM={algorithm}")));
    }
    Ok(Some(keys))
}

fn optional_secret(env: &Env, name: &str, debug: bool) -> Result<Option<SecretString>> {
    env.get(name).map(|v| secret(name, v, debug)).transpose()
}

/// The key of a cipher; none where the variable is not set.
///
/// # Errors
/// Returns an error for a key with under 32 bytes, and for a public one without `DEBUG`.
pub fn cipher_key(env: &Env, name: &str) -> Result<Option<SecretString>> {
    let key = optional_secret(env, name, env.flag("DEBUG", false)?)?;
    if key.as_ref().is_some_and(|key| key.expose_secret().len() < MIN_SECRET_BYTES) {
        return Err(error(name, format!("has under {MIN_SECRET_BYTES} bytes")));
    }
    Ok(key)
}

/// A key of its own: with the key of the access tokens, a user's token could pass for that of a service.
fn service_secret(env: &Env, debug: bool) -> Result<Option<SecretString>> {
    const NAME: &str = "SERVICE_SECRET_KEY";
    let Some(value) = env.get(NAME) else { return Ok(None) };
    if value.len() < MIN_SECRET_BYTES {
        return Err(error(NAME, format!("has under {MIN_SECRET_BYTES} bytes")));
    }
    if [env.get("SECRET_KEY"), env.get("SECRET_KEY_PREVIOUS")].contains(&Some(value)) {
        return Err(error(NAME, "equals SECRET_KEY or SECRET_KEY_PREVIOUS; set another"));
    }
    secret(NAME, value, debug).map(Some)
}

/// Browsers send credentials only to origins that are named, so `*` cannot work.
fn cors_origins(env: &Env) -> Result<Vec<HeaderValue>> {
    let origins: Vec<HeaderValue> = env.list("CORS_ORIGINS", "http://localhost:3000")?;
    if origins.iter().any(|origin| origin == "*") {
        return Err(error("CORS_ORIGINS", "cannot be *, because requests carry credentials; name the origins"));
    }
    Ok(origins)
}

fn mysql_url(env: &Env) -> Result<SecretString> {
    let url = match env.get("MYSQL_URL") {
        Some(url) => url.to_owned(),
        None => format!(
            "mysql://{}:{}@{}:{}/{}",
            env.text("MYSQL_USER", "root"),
            env.text("MYSQL_PASSWORD", ""),
            env.required("MYSQL_HOST").map_err(|_| error("MYSQL_URL", "is required and not set, nor is MYSQL_HOST"))?,
            env.parse("MYSQL_PORT", 3306_u16)?,
            env.text("MYSQL_DATABASE", "bigtech_chat"),
        ),
    };
    let url = url.replacen("mysql+aiomysql://", "mysql://", 1);
    if !url.starts_with("mysql://") {
        return Err(error("MYSQL_URL", "does not begin with mysql:// or mysql+aiomysql://"));
    }
    Ok(url.into())
}

fn redis_url(env: &Env) -> Result<SecretString> {
    let url = match env.get("REDIS_URL") {
        Some(url) => url.to_owned(),
        None => format!("redis://{}:{}/0", env.text("REDIS_HOST", "localhost"), env.parse("REDIS_PORT", 6379_u16)?),
    };
    if !url.starts_with("redis://") {
        return Err(error("REDIS_URL", "does not begin with redis://"));
    }
    Ok(url.into())
}

/// `MONGO_URL` (or `MONGODB_URL`, or `MONGODB_HOST` and its siblings) and `MONGODB_DB_NAME`, for the service that uses
/// MongoDB.
///
/// # Errors
/// Returns an error if the URL is missing or of another database.
pub fn mongo(env: &Env) -> Result<(SecretString, String)> {
    let url = match env.get("MONGO_URL").or_else(|| env.get("MONGODB_URL")) {
        Some(url) => url.to_owned(),
        None => {
            let host = env.required("MONGODB_HOST");
            let host = host.map_err(|_| error("MONGO_URL", "is required and not set, nor is MONGODB_HOST"))?;
            let login = match (env.get("MONGODB_USER"), env.get("MONGODB_PASSWORD")) {
                (Some(user), Some(password)) => format!("{user}:{password}@"),
                _ => String::new(),
            };
            format!("mongodb://{login}{host}:{}/", env.parse("MONGODB_PORT", 27017_u16)?)
        }
    };
    if !url.starts_with("mongodb://") && !url.starts_with("mongodb+srv://") {
        return Err(error("MONGO_URL", "does not begin with mongodb:// or mongodb+srv://"));
    }
    Ok((url.into(), env.text("MONGODB_DB_NAME", "bigtech_chat")))
}

/// The base URL of another service, without a trailing slash.
///
/// # Errors
/// Returns an error if the URL does not begin with `http://`.
pub fn service_url(env: &Env, name: &str, default: &str) -> Result<String> {
    let url = env.text(name, default);
    if !url.starts_with("http://") {
        return Err(error(name, "does not begin with http://"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn log_json(env: &Env, default: bool) -> Result<bool> {
    match env.get("LOG_FORMAT") {
        None => Ok(default),
        Some("json") => Ok(true),
        Some("text") => Ok(false),
        Some(other) => Err(error("LOG_FORMAT", format!("{other:?} is neither json nor text"))),
    }
}

fn otlp_endpoint(env: &Env) -> Result<Option<String>> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    env.get(NAME).map(|_| service_url(env, NAME, "")).transpose()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-of-our-own-with-32-bytes!";

    fn read(pairs: &[(&'static str, &str)]) -> Result<Base> {
        let mut all = vec![("SECRET_KEY", SECRET.to_owned()), ("MYSQL_HOST", "db".to_owned())];
        all.extend(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Base::read(&Env::of(all), "user-service", 8005)
    }

    fn problem(pairs: &[(&'static str, &str)]) -> String {
        read(pairs).unwrap_err().to_string()
    }

    #[test]
    fn an_invalid_value_is_reported_with_the_name_of_its_variable() {
        assert!(problem(&[("PORT", "80o5")]).starts_with("PORT: \"80o5\" is not valid"));
        assert_eq!(problem(&[("SECRET_KEY", "")]), "SECRET_KEY: is required and not set");
        assert_eq!(problem(&[("DEBUG", "maybe")]), "DEBUG: \"maybe\" is neither true nor false");
        assert_eq!(problem(&[("HTTP_TIMEOUT", "0")]), "HTTP_TIMEOUT: 0 is not between 1 and 300");
        assert_eq!(
            problem(&[("ALGORITHM", "none")]),
            "ALGORITHM: \"none\" is not valid: it is not HS256, ES256 or EdDSA"
        );
        assert!(problem(&[("MYSQL_URL", "postgres://x")]).starts_with("MYSQL_URL: does not begin"));
    }

    #[test]
    fn development_secrets_are_accepted_with_debug_only() {
        for secret in DEVELOPMENT_SECRETS {
            assert!(problem(&[("SECRET_KEY", secret)]).contains("well-known development value"));
            assert!(read(&[("SECRET_KEY", secret), ("DEBUG", "true")]).is_ok());
        }
    }

    #[test]
    fn the_secret_of_access_tokens_is_needed_only_where_its_tokens_are_accepted() {
        let secret = |pairs: &[_]| read(pairs).unwrap().secret_key.map(|secret| secret.expose_secret().to_owned());
        assert_eq!(secret(&[]).as_deref(), Some(SECRET));
        assert_eq!(secret(&[("ALGORITHM", "EdDSA")]), None, "the secret is set and not used");
        assert_eq!(secret(&[("ALGORITHM", "ES256"), ("SECRET_KEY", "")]), None);
        let transition = [("ALGORITHM", "EdDSA"), ("ALLOW_SECRET_KEY_TOKENS", "true")];
        assert_eq!(secret(&transition).as_deref(), Some(SECRET));
        assert!(read(&transition).unwrap().warnings()[0].starts_with("ALLOW_SECRET_KEY_TOKENS is on"));
        let without = problem(&[transition[0], transition[1], ("SECRET_KEY", "")]);
        assert_eq!(without, "SECRET_KEY: is required and not set");
    }

    #[test]
    fn the_file_of_public_keys_has_a_key_of_the_algorithm() {
        let path = std::env::temp_dir().join(format!("public-keys-{}.pem", std::process::id()));
        let (file, name) = (path.to_str().unwrap(), "JWT_PUBLIC_KEYS_FILE");
        assert!(problem(&[(name, "/nowhere.pem")]).contains("\"/nowhere.pem\" cannot be read"));
        std::fs::write(&path, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAQmFeOi1TCjXWdsXqtIKD77HFh/thvUrIrjQ0sEuznmU=\n-----END PUBLIC KEY-----\n").unwrap();
        assert!(read(&[(name, file), ("ALGORITHM", "EdDSA")]).unwrap().public_keys.is_some());
        assert!(problem(&[(name, file), ("ALGORITHM", "ES256")]).ends_with("contains no key for ALGORITHM=ES256"));
        std::fs::write(&path, "no key").unwrap();
        assert!(problem(&[(name, file)]).contains("contains a block that is no public key"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_key_of_services_is_long_and_a_key_of_its_own() {
        assert_eq!(problem(&[("SERVICE_SECRET_KEY", "short")]), "SERVICE_SECRET_KEY: has under 32 bytes");
        assert!(problem(&[("SERVICE_SECRET_KEY", SECRET)]).starts_with("SERVICE_SECRET_KEY: equals SECRET_KEY"));
        let previous = "the-secret-of-yesterday-with-32-bytes";
        let both = [("SECRET_KEY_PREVIOUS", previous), ("SERVICE_SECRET_KEY", previous)];
        assert!(problem(&both).starts_with("SERVICE_SECRET_KEY: equals"));
        assert!(read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).is_ok());
    }

    #[test]
    fn origins_are_named() {
        assert!(problem(&[("CORS_ORIGINS", "*")]).starts_with("CORS_ORIGINS: cannot be *"));
        assert!(
            problem(&[("CORS_ORIGINS", r#"["https://chat.example.com", "*"]"#)]).starts_with("CORS_ORIGINS: cannot")
        );
    }

    #[test]
    fn urls_of_the_original_and_composed_urls_are_accepted() {
        let url = |pairs: &[_]| read(pairs).unwrap().mysql_url.expose_secret().to_owned();
        assert_eq!(url(&[("MYSQL_URL", "mysql+aiomysql://u:p@h:3306/d")]), "mysql://u:p@h:3306/d");
        assert_eq!(
            url(&[("MYSQL_USER", "chatuser"), ("MYSQL_PASSWORD", "chatpassword")]),
            "mysql://chatuser:chatpassword@db:3306/bigtech_chat"
        );
    }

    #[test]
    fn origins_and_proxies_are_lists() {
        let base =
            read(&[("CORS_ORIGINS", r#"["http://a","http://b"]"#), ("TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).unwrap();
        assert_eq!(base.cors_origins, ["http://a", "http://b"]);
        assert_eq!(base.trusted_proxies.len(), 2);
    }

    #[test]
    fn the_endpoint_of_spans_is_an_http_url() {
        let endpoint = |value| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).unwrap().otlp_endpoint;
        assert_eq!(endpoint(""), None);
        assert_eq!(endpoint("http://jaeger:4318/"), Some("http://jaeger:4318".to_owned()));
        assert!(problem(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317")]).contains("does not begin with http://"));
    }

    #[test]
    fn logs_are_readable_lines_with_debug_unless_the_format_is_set() {
        let json = |pairs: &[_]| read(pairs).unwrap().log.json;
        assert!(json(&[]) && !json(&[("DEBUG", "true")]));
        assert!(json(&[("DEBUG", "true"), ("LOG_FORMAT", "json")]) && !json(&[("LOG_FORMAT", "text")]));
        assert!(problem(&[("LOG_FORMAT", "xml")]).starts_with("LOG_FORMAT: \"xml\" is neither"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let base = format!("{:?}", read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).unwrap());
        assert!(!base.contains(SECRET) && !base.contains("another-secret"));
    }

    #[test]
    fn weak_settings_produce_warnings() {
        assert_eq!(read(&[("SECRET_KEY", "short")]).unwrap().warnings().len(), 2);
        assert!(
            read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).unwrap().warnings().is_empty()
        );
    }
}
