//! The producer: one per process, shared by all who publish.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tracing::Span;

use crate::error::{Error, Result};
use crate::kafka::{KafkaConfig, Log, Metrics, failed, misconfigured};
use crate::telemetry::trace;

pub use crate::kafka::record::{Record, Trace};

/// After this long without an acknowledgement a record has failed; whoever sent it has it in a store and sends it again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for company before a batch is sent: records of one moment share a request.
const LINGER: Duration = Duration::from_millis(1);

/// What may wait for the brokers at most, in records and in KiB. Beyond it sending fails at once.
const QUEUE_RECORDS: u32 = 20_000;
const QUEUE_KIB: u32 = 16 * 1_024;

#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    current: RwLock<FutureProducer<Log>>,
    metrics: Metrics,
}

impl Producer {
    /// Connects in the background: brokers may be away.
    pub fn new(config: &KafkaConfig, registry: &Registry) -> Result<Self> {
        let metrics = Metrics::register(registry).map_err(Error::internal)?;
        let config = settings(config);
        let current = RwLock::new(connect(&config)?);
        Ok(Self { shared: Arc::new(Shared { config, current, metrics }) })
    }

    /// Queues a record. Never blocks: a full queue is an error.
    ///
    /// The future resolves with the delivery report. It need not be awaited: the record is on its way.
    pub fn send(&self, record: Record) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let shared = self.shared.clone();
        let span = trace::follow(span(&record.topic), record.header(trace::TRACEPARENT));
        let headers = record.owned_headers(trace::traceparent(&span).as_deref());
        let queued = shared.current().send_result(
            FutureRecord::to(&record.topic).key(&record.key).payload(&record.payload[..]).headers(headers),
        );
        let report = queued.map_err(|(error, _)| shared.failed(error))?;
        Ok(async move {
            // It ends with the report.
            let _published = span;
            match report.await {
                Ok(Ok(_)) => shared.metrics.published.with_label_values(&[&record.topic]).inc(),
                Ok(Err((error, _))) => return Err(shared.failed(error)),
                Err(_) => return Err(shared.failed(KafkaError::Canceled)),
            }
            Ok(())
        })
    }

    /// Waits until everything queued has its report, at the end of a process.
    pub async fn flush(&self, within: Duration) {
        let current = self.shared.current();
        let flushed = tokio::task::spawn_blocking(move || current.flush(within)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "records were left in the producer's queue");
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

impl Shared {
    fn current(&self) -> FutureProducer<Log> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An idempotent producer that has lost count of its records refuses all further ones: a new one takes its place.
    fn failed(&self, error: KafkaError) -> Error {
        if self.current().client().fatal_error().is_some() {
            self.replace();
        }
        failed(error)
    }

    fn replace(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Many fail at once; the first of them replaces it.
        let Some((code, reason)) = current.client().fatal_error() else { return };
        tracing::warn!(%code, reason, "the producer failed for good and is replaced");
        match connect(&self.config) {
            Ok(fresh) => {
                let failed = std::mem::replace(&mut *current, fresh);
                drop(current);
                // Its end waits for a thread.
                drop(failed);
            }
            Err(error) => tracing::error!(%error, "no new producer"),
        }
    }
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
    let mut client = config.client();
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", &config.compression)
        // As the Java and Python clients partition: one key stays in one partition whoever writes it.
        .set("partitioner", "murmur2_random")
        .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
        .set("linger.ms", LINGER.as_millis().to_string())
        .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
    client
}

fn connect(config: &ClientConfig) -> Result<FutureProducer<Log>> {
    config.create_with_context(Log).map_err(misconfigured)
}
