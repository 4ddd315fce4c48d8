//! A producing client of librdkafka, with the thread that passes its delivery reports on.
//!
//! rdkafka's own such thread, that of its `ThreadedProducer` and `FutureProducer`, waits in whole milliseconds and asks again and
//! again for the rest of the last one. That is one per cent of a core in a process that sends nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::error::Error as CommonError;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use tokio::sync::oneshot;

use crate::error::Result;
use crate::kafka::client::{Log, misconfigured};

/// The time of a poll, after which the thread looks whether it should stop. A poll goes on after a report, in whole milliseconds, and
/// spins through what is left beyond them: half a millisecond on average, so polls are long. Without a report, 0.1 ms is about what the
/// thread and its timer need, and hardly anything is left.
const WAIT: Duration = Duration::from_micros(300_100);

/// The end of a record's way: acknowledged, or the reason why it is not.
type Report = Result<(), KafkaError>;

/// The client. Its drop waits for the thread.
pub(super) struct Reporting {
    client: Arc<BaseProducer<Log>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reporting {
    /// # Errors
    /// Returns an internal error if librdkafka rejects the configuration or the thread cannot be started.
    pub(super) fn start(config: &ClientConfig) -> Result<Self> {
        let client: Arc<BaseProducer<Log>> = Arc::new(config.create_with_context(Log).map_err(misconfigured)?);
        let stopping = Arc::<AtomicBool>::default();
        let (polled, stop) = (client.clone(), stopping.clone());
        let poll = move || {
            while !stop.load(Ordering::Relaxed) {
                polled.poll(WAIT);
            }
        };
        let thread =
            thread::Builder::new().name("kafka reports".to_owned()).spawn(poll).map_err(CommonError::internal)?;
        Ok(Self { client, stopping, thread: Some(thread) })
    }
}

impl Deref for Reporting {
    type Target = BaseProducer<Log>;

    fn deref(&self) -> &BaseProducer<Log> {
        &self.client
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the delivery reports panicked");
        }
    }
}

impl ProducerContext for Log {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        // Nobody may wait for it.
        let _ = report.send(result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
    }
}
