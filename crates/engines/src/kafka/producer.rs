//! The producer, one per process.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use common::error::Error as CommonError;
use parking_lot::RwLock;
use platform::config::KafkaConfig;
use platform::health::Health;
use platform::telemetry::trace;
use prometheus::Registry;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::oneshot;
use tracing::Span;

use crate::error::{Error, Result};
use crate::kafka::client;
use crate::kafka::metrics::Metrics;
use crate::kafka::record::Record;
use crate::kafka::reporting::Reporting;

/// A record that is not acknowledged within this time has failed. Its sender has it in a store and sends it again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// librdkafka reports a timeout somewhat late. A report that is missing after this time was lost with a producer that was replaced.
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);

/// The wait for further records of a batch.
const LINGER: Duration = Duration::from_millis(1);

/// A watched broker that does not answer within this time is degraded. The question occupies a thread for as long.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// The capacity of the queue, in records and in KiB. Sending to a full queue fails at once.
const QUEUE_RECORDS: u32 = 20_000;
const QUEUE_KIB: u32 = 16 * 1_024;

/// Publishes records, idempotently and with acknowledgement of all in-sync replicas. Clones share the queue.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    current: RwLock<Arc<Reporting>>,
    metrics: Metrics,
}

impl Producer {
    /// Connects in the background, so that a service starts without brokers. Registers the metrics of all Kafka clients
    /// of the process.
    ///
    /// # Errors
    /// Returns an internal error if librdkafka rejects the configuration or the metrics are registered already.
    pub fn new(config: &KafkaConfig, registry: &Registry) -> Result<Self> {
        let metrics = Metrics::register(registry).map_err(CommonError::internal)?;
        let config = settings(config);
        let current = RwLock::new(Arc::new(Reporting::start(&config)?));
        Ok(Self { shared: Arc::new(Shared { config, current, metrics }) })
    }

    /// Queues a record without blocking. The future resolves with the delivery report and need not be awaited.
    ///
    /// # Errors
    /// Returns an unavailable error if the queue is full, and the future if the record is not acknowledged within 10 s.
    /// An internal error means that brokers never accept the record.
    pub fn send(&self, record: Record) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let shared = self.shared.clone();
        let span = trace::follow(span(&record.topic), record.header(trace::TRACEPARENT));
        let headers = record.owned_headers(trace::traceparent(&span).as_deref());
        let (to_sender, report) = oneshot::channel();
        let queued = BaseRecord::with_opaque_to(&record.topic, Box::new(to_sender)).key(&record.key);
        let queued = queued.payload(&record.payload[..]).headers(headers);
        shared.current().send(queued).map_err(|(error, _)| shared.failed(error))?;
        Ok(async move {
            // The span ends with the report.
            let _span = span;
            match tokio::time::timeout(REPORT_TIMEOUT, report).await {
                Ok(Ok(Ok(()))) => shared.metrics.published.with_label_values(&[&record.topic]).inc(),
                Ok(Ok(Err(error))) => return Err(shared.failed(error)),
                Ok(Err(_)) | Err(_) => return Err(shared.failed(KafkaError::Canceled)),
            }
            Ok(())
        })
    }

    /// Queues a record like [`send`](Self::send). A record that brokers never accept goes to the dead letters of its topic, with
    /// the reason; the future resolves when it is there.
    ///
    /// # Errors
    /// Returns an unavailable error if the queue is full, and the future if the record or its dead letter is not acknowledged.
    pub fn deliver(&self, record: Record) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let queued = match self.send(record.clone()) {
            Err(error) if !is_final(&error) => return Err(error),
            queued => queued,
        };
        let producer = self.clone();
        Ok(async move {
            let sent = match queued {
                Ok(report) => report.await,
                Err(error) => Err(error),
            };
            let Some(error) = sent.as_ref().err().filter(|error| is_final(error)) else { return sent };
            let reason = error.get_ref().source().map_or_else(|| error.to_string(), ToString::to_string);
            let bytes = record.payload.len();
            tracing::error!(
                topic = record.topic,
                bytes,
                reason,
                "brokers do not accept a record, it becomes a dead letter"
            );
            producer.send(record.undeliverable(&reason))?.await
        })
    }

    /// Watches whether a broker of `kafka` answers with the place of a topic.
    pub fn watch(&self, health: &Health, topic: &str) {
        let (producer, topic): (_, Arc<str>) = (self.clone(), topic.into());
        health.watch("kafka", move || {
            let (current, topic) = (producer.shared.current(), topic.clone());
            async move {
                let asked = move || current.client().fetch_metadata(Some(&topic), METADATA_TIMEOUT).map(drop);
                tokio::task::spawn_blocking(asked).await.map_err(CommonError::internal)?.map_err(Error::from)
            }
        });
    }

    /// Waits until all queued records have their reports, but no longer than `within`.
    pub async fn flush(&self, within: Duration) {
        let current = self.shared.current();
        let flushed = tokio::task::spawn_blocking(move || current.flush(within)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "records remain in the producer's queue");
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

impl Shared {
    fn current(&self) -> Arc<Reporting> {
        self.current.read().clone()
    }

    /// After a fatal error, such as a lost sequence number, an idempotent producer rejects all further records and is
    /// replaced.
    fn failed(&self, error: KafkaError) -> Error {
        if self.current().client().fatal_error().is_some() {
            self.replace();
        }
        error.into()
    }

    fn replace(&self) {
        let mut current = self.current.write();
        // Many records fail at once. The first failure replaces the producer.
        let Some((code, reason)) = current.client().fatal_error() else { return };
        tracing::warn!(%code, reason, "the producer failed fatally and is replaced");
        match Reporting::start(&self.config) {
            Ok(fresh) => {
                let failed = std::mem::replace(&mut *current, Arc::new(fresh));
                drop(current);
                // The drop waits for the reports of the records that are on their way.
                tokio::task::spawn_blocking(move || drop(failed));
            }
            Err(error) => tracing::error!(%error, "the producer cannot be replaced"),
        }
    }
}

/// Whether brokers will never accept the record.
fn is_final(error: &Error) -> bool {
    matches!(error.get_ref(), CommonError::Internal(_))
}

fn span(topic: &str) -> Span {
    tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "publish",
        otel.name = format!("publish {topic}"),
        otel.kind = "producer",
        messaging.system = "kafka",
        messaging.destination.name = topic,
    )
}

fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut client = client::settings(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", &config.compression)
        // The partitioner of the Java and Python clients, so that a key has one partition whichever client writes.
        .set("partitioner", "murmur2_random")
        .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
        .set("linger.ms", LINGER.as_millis().to_string())
        .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
    client
}
