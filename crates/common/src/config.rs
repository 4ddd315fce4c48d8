//! Configuration from the environment: read once, checked, and refused with one line that names the variable.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;

use crate::kafka::KafkaConfig;
use crate::kafka::topics::TopicNames;

/// Secrets that stand in public files; accepted in development only.
pub const DEVELOPMENT_SECRETS: [&str; 2] =
    ["dev-only-secret-key-do-not-use-in-production", "dev-only-service-secret-do-not-use-in-production"];

/// The strength of HS256 needs a key as long as its hash.
const MIN_SECRET_BYTES: usize = 32;

/// The environment, as a map so that tests can make one.
#[derive(Clone, Debug, Default)]
pub struct Env {
    values: HashMap<String, String>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

/// The line that stops a start.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    pub variable: String,
    pub problem: String,
}

type Result<T> = std::result::Result<T, ConfigError>;

impl Env {
    /// The process's own; in development a `.env` of the working directory fills what is unset.
    pub fn of_process() -> Self {
        if std::env::var("DEBUG").is_ok_and(|v| truth(&v) == Some(true)) {
            dotenvy::dotenv().ok();
        }
        Self::of(std::env::vars())
    }

    pub fn of<N: Into<String>>(pairs: impl IntoIterator<Item = (N, String)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { values, asked: Arc::default() }
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.values.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// The variables that were asked for so far, set or not: what deployment files may set is held against them.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    pub fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| error(name, "is required and not set"))
    }

    pub fn parse<T: FromStr>(&self, name: &str, default: T) -> Result<T>
    where
        T::Err: fmt::Display,
    {
        self.get(name).map_or(Ok(default), |v| v.parse().map_err(|e| error(name, format!("{v:?} is not valid: {e}"))))
    }

    /// A number within bounds.
    pub fn number(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<u64> {
        let n = self.parse(name, default)?;
        if bounds.contains(&n) {
            return Ok(n);
        }
        Err(error(name, format!("{n} is not between {} and {}", bounds.start(), bounds.end())))
    }

    pub fn seconds(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<Duration> {
        self.number(name, default, bounds).map(Duration::from_secs)
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        truth(value).ok_or_else(|| error(name, format!("{value:?} is neither true nor false")))
    }

    /// A JSON list or a list with commas.
    pub fn list<T: FromStr>(&self, name: &str, default: &str) -> Result<Vec<T>>
    where
        T::Err: fmt::Display,
    {
        let value = self.get(name).unwrap_or(default);
        let items: Vec<String> = if value.starts_with('[') {
            serde_json::from_str(value).map_err(|e| error(name, format!("is not a JSON list of strings: {e}")))?
        } else {
            value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        };
        let parse = |item: String| item.parse().map_err(|e| error(name, format!("{item:?} is not valid: {e}")));
        items.into_iter().map(parse).collect()
    }
}

pub fn error(variable: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError { variable: variable.to_owned(), problem: problem.into() }
}

fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Where a proxy of ours may stand: an address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains(address)
    }
}

impl FromStr for Network {
    type Err = AddrParseError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map(Self)
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What every service reads.
#[derive(Clone, Debug)]
pub struct Base {
    pub host: IpAddr,
    pub port: u16,
    /// Development: readable logs, well-known secrets accepted.
    pub debug: bool,
    pub version: String,
    pub log_level: String,
    /// One JSON object a line, or readable lines.
    pub log_json: bool,
    pub secret_key: Secret,
    pub secret_key_previous: Option<Secret>,
    /// Without it no call between services is signed and none is accepted.
    pub service_secret_key: Option<Secret>,
    pub allow_anonymous_service_calls: bool,
    pub access_token_lifetime: Duration,
    pub mysql_url: Secret,
    pub mysql_pool_size: u32,
    pub redis_url: Secret,
    /// Put before every key, so that tests share an engine; empty in production.
    pub redis_prefix: String,
    pub kafka: KafkaConfig,
    /// Put before the names of consumer groups, so that tests share brokers; empty in production.
    pub kafka_group_prefix: String,
    pub cors_origins: Vec<HeaderValue>,
    pub trusted_proxies: Vec<Network>,
    /// How long a call to another service may take.
    pub http_timeout: Duration,
    pub online_ttl: Duration,
    /// Where spans go, without `/v1/traces`; none are made without it.
    pub otlp_endpoint: Option<String>,
    /// From SIGTERM to exit at most; below Kubernetes' grace period of 30 s.
    pub shutdown: Duration,
}

impl Base {
    pub fn read(env: &Env, service: &'static str, port: u16) -> Result<Self> {
        let debug = env.flag("DEBUG", false)?;
        if let Some(other) = env.get("ALGORITHM").filter(|a| *a != "HS256") {
            return Err(error("ALGORITHM", format!("{other:?} is not supported, only HS256 is")));
        }
        let secret_key = env.required("SECRET_KEY").and_then(|v| secret("SECRET_KEY", v, debug))?;
        Ok(Self {
            host: env.parse("HOST", IpAddr::V4(Ipv4Addr::UNSPECIFIED))?,
            port: env.parse("PORT", port)?,
            debug,
            version: env.text("VERSION", env!("CARGO_PKG_VERSION")),
            log_level: env.text("LOG_LEVEL", "info").to_lowercase(),
            log_json: log_json(env, !debug)?,
            secret_key,
            secret_key_previous: optional_secret(env, "SECRET_KEY_PREVIOUS", debug)?,
            service_secret_key: optional_secret(env, "SERVICE_SECRET_KEY", debug)?,
            allow_anonymous_service_calls: env.flag("ALLOW_ANONYMOUS_SERVICE_CALLS", false)?,
            access_token_lifetime: env.seconds_from_hours("ACCESS_TOKEN_EXPIRE_HOURS", 2)?,
            mysql_url: mysql_url(env)?,
            mysql_pool_size: env.number("MYSQL_POOL_SIZE", 16, 1..=1000)? as u32,
            redis_url: redis_url(env)?,
            redis_prefix: env.text("REDIS_KEY_PREFIX", ""),
            kafka: KafkaConfig {
                bootstrap: env.text("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
                compression: env.text("KAFKA_COMPRESSION", "gzip"),
                topics: topic_names(env),
                client_id: service.to_owned(),
            },
            kafka_group_prefix: env.text("KAFKA_GROUP_PREFIX", ""),
            cors_origins: env.list("CORS_ORIGINS", "http://localhost:3000")?,
            trusted_proxies: env.list("TRUSTED_PROXIES", "")?,
            http_timeout: env.seconds("HTTP_TIMEOUT", 10, 1..=300)?,
            online_ttl: env.seconds("ONLINE_TTL_SECONDS", 60, 1..=86_400)?,
            otlp_endpoint: otlp_endpoint(env)?,
            shutdown: env.seconds("SHUTDOWN_SECONDS", 25, 3..=600)?,
        })
    }

    /// What an operator should know of this configuration, once, at start.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.secret_key.expose().len() < MIN_SECRET_BYTES {
            warnings.push("SECRET_KEY has under 32 bytes: tokens can be forged by guessing it");
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

impl Env {
    fn seconds_from_hours(&self, name: &str, default: u64) -> Result<Duration> {
        Ok(Duration::from_secs(3600 * self.number(name, default, 1..=24 * 365)?))
    }
}

fn secret(name: &str, value: &str, debug: bool) -> Result<Secret> {
    if !debug && DEVELOPMENT_SECRETS.contains(&value) {
        return Err(error(name, "is the well-known development value; set a secret of your own, or DEBUG=true"));
    }
    Ok(Secret::new(value))
}

fn optional_secret(env: &Env, name: &str, debug: bool) -> Result<Option<Secret>> {
    env.get(name).map(|v| secret(name, v, debug)).transpose()
}

fn mysql_url(env: &Env) -> Result<Secret> {
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
    Ok(Secret::new(url))
}

fn redis_url(env: &Env) -> Result<Secret> {
    let url = match env.get("REDIS_URL") {
        Some(url) => url.to_owned(),
        None => format!("redis://{}:{}/0", env.text("REDIS_HOST", "localhost"), env.parse("REDIS_PORT", 6379_u16)?),
    };
    if !url.starts_with("redis://") {
        return Err(error("REDIS_URL", "does not begin with redis://"));
    }
    Ok(Secret::new(url))
}

/// The URL of MongoDB and the name of the database, for the service that has one.
pub fn mongo(env: &Env) -> Result<(Secret, String)> {
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
    Ok((Secret::new(url), env.text("MONGODB_DB_NAME", "bigtech_chat")))
}

/// The address of another service, without a slash at its end.
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
    fn a_wrong_value_is_named_in_one_line() {
        assert!(problem(&[("PORT", "80o5")]).starts_with("PORT: \"80o5\" is not valid"));
        assert_eq!(problem(&[("SECRET_KEY", "")]), "SECRET_KEY: is required and not set");
        assert_eq!(problem(&[("DEBUG", "maybe")]), "DEBUG: \"maybe\" is neither true nor false");
        assert_eq!(problem(&[("HTTP_TIMEOUT", "0")]), "HTTP_TIMEOUT: 0 is not between 1 and 300");
        assert_eq!(problem(&[("ALGORITHM", "none")]), "ALGORITHM: \"none\" is not supported, only HS256 is");
        assert!(problem(&[("MYSQL_URL", "postgres://x")]).starts_with("MYSQL_URL: does not begin"));
    }

    #[test]
    fn development_secrets_are_for_development() {
        for secret in DEVELOPMENT_SECRETS {
            assert!(problem(&[("SECRET_KEY", secret)]).contains("well-known development value"));
            assert!(read(&[("SECRET_KEY", secret), ("DEBUG", "true")]).is_ok());
        }
    }

    #[test]
    fn urls_of_the_original_and_composed_ones_are_taken() {
        let url = |pairs: &[_]| read(pairs).unwrap().mysql_url.expose().to_owned();
        assert_eq!(url(&[("MYSQL_URL", "mysql+aiomysql://u:p@h:3306/d")]), "mysql://u:p@h:3306/d");
        assert_eq!(
            url(&[("MYSQL_USER", "chatuser"), ("MYSQL_PASSWORD", "chatpassword")]),
            "mysql://chatuser:chatpassword@db:3306/bigtech_chat"
        );
    }

    #[test]
    fn lists_come_as_json_or_with_commas() {
        for value in [r#"["http://a","http://b"]"#, "http://a, http://b,"] {
            assert_eq!(read(&[("CORS_ORIGINS", value)]).unwrap().cors_origins, ["http://a", "http://b"]);
        }
        assert!(problem(&[("CORS_ORIGINS", "[1]")]).starts_with("CORS_ORIGINS: is not a JSON list"));
    }

    #[test]
    fn a_proxy_is_an_address_or_stands_in_a_network() {
        let trusts = |value, address: &str| {
            let proxies = read(&[("TRUSTED_PROXIES", value)]).unwrap().trusted_proxies;
            proxies.iter().any(|network| network.contains(&address.parse().unwrap()))
        };
        assert!(trusts("127.0.0.1", "127.0.0.1") && !trusts("127.0.0.1", "127.0.0.2"));
        assert!(trusts("::1, 172.16.0.0/12", "172.31.255.1") && !trusts("172.16.0.0/12", "172.32.0.1"));
        assert!(!trusts("", "127.0.0.1"));
        assert!(problem(&[("TRUSTED_PROXIES", "10.0.0.0/33")]).starts_with("TRUSTED_PROXIES: \"10.0.0.0/33\""));
    }

    #[test]
    fn what_was_asked_for_is_known() {
        let env = Env::of([("PORT", "1".to_owned()), ("UNKNOWN", String::new())]);
        env.get("PORT");
        assert_eq!(env.text("HOST", "::"), "::");
        assert_eq!(env.asked().into_iter().collect::<Vec<_>>(), ["HOST", "PORT"]);
    }

    #[test]
    fn spans_are_made_only_where_they_can_be_sent() {
        let endpoint = |value| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).unwrap().otlp_endpoint;
        assert_eq!(endpoint(""), None);
        assert_eq!(endpoint("http://jaeger:4318/"), Some("http://jaeger:4318".to_owned()));
        assert!(problem(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317")]).contains("does not begin with http://"));
    }

    #[test]
    fn logs_are_readable_in_development_unless_told_otherwise() {
        let json = |pairs: &[_]| read(pairs).unwrap().log_json;
        assert!(json(&[]) && !json(&[("DEBUG", "true")]));
        assert!(json(&[("DEBUG", "true"), ("LOG_FORMAT", "json")]) && !json(&[("LOG_FORMAT", "text")]));
        assert!(problem(&[("LOG_FORMAT", "xml")]).starts_with("LOG_FORMAT: \"xml\" is neither"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let base = format!("{:?}", read(&[("SERVICE_SECRET_KEY", "another-secret")]).unwrap());
        assert!(!base.contains(SECRET) && !base.contains("another-secret"));
    }

    #[test]
    fn weak_settings_are_warned_of() {
        assert_eq!(read(&[("SECRET_KEY", "short")]).unwrap().warnings().len(), 2);
        assert!(read(&[("SERVICE_SECRET_KEY", SECRET)]).unwrap().warnings().is_empty());
    }
}
