//! The settings, the log and the errors of all Kafka clients.

use std::time::Duration;

use backon::BackoffBuilder;
use common::error::Error as CommonError;
use platform::config::{KafkaConfig, KafkaSecurity};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::ExposeSecret;

use crate::error::Error;

/// The settings of clients of every kind, with encryption and login. A client reconnects within a second after a broker is
/// available again.
pub(super) fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("client.id", &config.client_id)
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    secure(&mut client, &config.security);
    client
}

/// The certificate of a broker has to name the host to which the client connects.
fn secure(client: &mut ClientConfig, security: &KafkaSecurity) {
    client.set("security.protocol", security.protocol.name());
    if let Some(login) = &security.login {
        client
            .set("sasl.mechanism", &login.mechanism)
            .set("sasl.username", &login.username)
            .set("sasl.password", login.password.expose_secret());
    }
    if let Some(ca) = &security.files.ca {
        client.set("ssl.ca.location", ca);
    }
    if let Some((certificate, key)) = &security.files.identity {
        client.set("ssl.certificate.location", certificate).set("ssl.key.location", key);
    }
}

/// Passes librdkafka's log to this system's log.
#[derive(Clone)]
pub(super) struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

/// Logs a message of librdkafka. Errors are logged for debugging only, because librdkafka reports every attempt to
/// connect while brokers are unavailable.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka"),
        _ => tracing::trace!(facility, message, "librdkafka"),
    }
}

impl From<KafkaError> for Error {
    /// Nearly every error of a broker passes. A record that brokers never accept is a defect.
    fn from(error: KafkaError) -> Self {
        let error = match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => CommonError::internal(error),
            _ => CommonError::unavailable("kafka", error),
        };
        error.into()
    }
}

/// The error of a configuration that librdkafka rejects, which is a defect.
pub(super) fn misconfigured(error: KafkaError) -> Error {
    CommonError::internal(error).into()
}

/// The longest pause between attempts against an unavailable dependency.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Endless pauses between attempts, from 100 ms to 2 s.
pub(crate) fn backoff() -> impl Iterator<Item = Duration> + Send {
    let growing = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    growing.build().chain(std::iter::repeat(LONGEST_PAUSE))
}

/// Logs the error of an operation that nothing waits for.
pub(super) fn log_error(operation: &'static str, result: Result<(), KafkaError>) {
    if let Err(error) = result {
        tracing::debug!(%error, operation, "kafka");
    }
}
