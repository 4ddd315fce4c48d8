//! The configuration that all services read.

mod connections;
mod log;
mod security;
mod tokens;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::HeaderValue;
use common::config::{ConfigError, Env, Network};
use common::jwt::{Algorithm, PublicKeys};
use secrecy::{ExposeSecret, SecretString};

pub use connections::{
    CallConfig, ConnectionLimits, KafkaConfig, OtlpConfig, PUBLIC_PASSWORDS, mongo, mysql_url, service_url,
};
pub use log::LogConfig;
pub use security::{KafkaLogin, KafkaSecurity, PLACEHOLDER, Protocol, TlsFiles};
pub use tokens::{DEVELOPMENT_SECRETS, algorithm, cipher_key};

use connections::{cors_origins, redis_url};
use tokens::{MIN_SECRET_BYTES, optional_secret, public_keys, secret, service_secret};

use crate::http::ServerCertificate;

type Result<T> = std::result::Result<T, ConfigError>;

/// The configuration that all services read. Each field names its variable.
#[derive(Clone, Debug)]
pub struct Base {
    /// `HOST`: the address to listen on, by default all.
    pub host: IpAddr,
    /// `PORT`: the port to listen on.
    pub port: u16,
    /// `TLS_CERT_FILE`, `TLS_KEY_FILE`: the certificate of the server, which then speaks HTTPS only.
    pub tls: Option<ServerCertificate>,
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
    /// A store's password is one that public files contain, without `DEBUG`.
    pub has_public_password: bool,
    /// `ALLOW_ANONYMOUS_SERVICE_CALLS`: accepts calls between services without credentials, as the original makes them.
    pub allow_anonymous_service_calls: bool,
    /// `ACCESS_TOKEN_EXPIRE_HOURS`: how long an access token is valid, by default 2 hours.
    pub access_token_lifetime: Duration,
    /// `MYSQL_URL`, or `MYSQL_HOST` and its siblings.
    pub mysql_url: SecretString,
    /// `MYSQL_POOL_SIZE`: the greatest number of connections, by default 16.
    pub mysql_pool_size: u32,
    /// `REDIS_URL`, or `REDIS_HOST` and its siblings.
    pub redis_url: SecretString,
    /// `REDIS_CA_FILE`, `REDIS_CERT_FILE`, `REDIS_KEY_FILE`: the files of TLS, for a `rediss://` URL.
    pub redis_tls: TlsFiles,
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
    /// `HTTP_TIMEOUT`, `CALLS_CA_FILE`: the calls to other services.
    pub calls: CallConfig,
    /// `ONLINE_TTL_SECONDS`: how long a user is online after the last sign of life, by default 60 s.
    pub online_ttl: Duration,
    /// `OTEL_EXPORTER_OTLP_*`: the receiver of spans. Without it, no span is created.
    pub otlp: Option<OtlpConfig>,
    /// `SHUTDOWN_SECONDS`: the longest time from SIGTERM to exit, by default 25 s; Kubernetes' grace period is 30 s.
    pub shutdown: Duration,
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
            tls: ServerCertificate::read(env)?,
            debug,
            version: env.text("VERSION", env!("CARGO_PKG_VERSION")),
            log: LogConfig::read(env)?,
            algorithm,
            secret_key,
            secret_key_previous,
            allow_secret_key_tokens,
            public_keys: public_keys(env, algorithm)?,
            service_secret_key: service_secret(env, debug)?,
            has_public_password: !env.flag("DEBUG", false)? && connections::has_public_password(env),
            allow_anonymous_service_calls: env.flag("ALLOW_ANONYMOUS_SERVICE_CALLS", false)?,
            access_token_lifetime: hours(env, "ACCESS_TOKEN_EXPIRE_HOURS", 2)?,
            mysql_url: mysql_url(env)?,
            mysql_pool_size: env.number("MYSQL_POOL_SIZE", 16, 1..=1000)? as u32,
            redis_url: redis_url(env)?,
            redis_tls: TlsFiles::read(env, "REDIS")?,
            redis_prefix: env.text("REDIS_KEY_PREFIX", ""),
            kafka: KafkaConfig::read(env, service)?,
            kafka_group_prefix: env.text("KAFKA_GROUP_PREFIX", ""),
            cors_origins: cors_origins(env)?,
            trusted_proxies: env.list("TRUSTED_PROXIES", "")?,
            connections: ConnectionLimits {
                header: env.seconds("HTTP_HEADER_TIMEOUT", 10, 1..=300)?,
                body: env.seconds("HTTP_BODY_TIMEOUT", 30, 1..=600)?,
                write: env.seconds("HTTP_WRITE_TIMEOUT", 30, 1..=600)?,
                open: env.number("HTTP_MAX_CONNECTIONS", 20_000, 10..=1_000_000)? as usize,
            },
            calls: CallConfig::read(env)?,
            online_ttl: env.seconds("ONLINE_TTL_SECONDS", 60, 1..=86_400)?,
            otlp: OtlpConfig::read(env)?,
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
        if self.has_public_password {
            warnings
                .push("the password of a store is one that public files contain: whoever reaches the store can log in");
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

#[cfg(test)]
mod tests;
