//! A connection to a stream of events, and the deliveries that all streams have seen.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use parking_lot::RwLock;
use reqwest::RequestBuilder;
use serde::Deserialize;
use tokio::time::timeout;

use crate::http::{Failure, refused};
use crate::load::{Recorder, Schedule};

/// The time for the answer and the event `connected`.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The beginning of the messages whose deliveries are measured; the number of the message follows.
const MARK: &str = "bench ";

/// The text of the message with a number.
pub fn content(number: u64) -> String {
    format!("{MARK}{number}")
}

/// The number of a message of the benchmark in the data of an event.
pub fn number(data: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct NewMessage {
        content: String,
    }
    let message: NewMessage = serde_json::from_str(data).ok()?;
    message.content.strip_prefix(MARK)?.parse().ok()
}

/// An open stream after its event `connected`.
pub struct EventStream(Pin<Box<dyn Stream<Item = Result<Event, EventStreamError<reqwest::Error>>> + Send>>);

impl EventStream {
    /// Returns the event `connected` too.
    ///
    /// # Errors
    /// Fails if the stream is refused, or is not connected in time.
    pub async fn open(request: RequestBuilder) -> Result<(Self, Event), Failure> {
        let opened = async {
            let response = request.send().await?;
            if !response.status().is_success() {
                return Err(refused(response).await);
            }
            let mut stream = Self(Box::pin(response.bytes_stream().eventsource()));
            match stream.next().await {
                Some(event) if event.event == "connected" => Ok((stream, event)),
                _ => Err(Failure::Content("event `connected`")),
            }
        };
        timeout(OPEN_TIMEOUT, opened).await.unwrap_or(Err(Failure::Timeout))
    }

    /// The next event; None at the end of the stream, also of a broken one.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.next().await?.ok()
    }
}

/// The deliveries of all streams. They have latencies only between `begin` and `end`.
#[derive(Default)]
pub struct Deliveries {
    measured: RwLock<Option<MeasuredDeliveries>>,
    count: AtomicU64,
}

struct MeasuredDeliveries {
    schedule: Schedule,
    /// The number of the first message of the schedule.
    first: u64,
    row: &'static str,
    recorder: Arc<Recorder>,
}

impl Deliveries {
    pub fn begin(&self, schedule: Schedule, first: u64, row: &'static str, recorder: Arc<Recorder>) {
        *self.measured.write() = Some(MeasuredDeliveries { schedule, first, row, recorder });
    }

    pub fn end(&self) {
        *self.measured.write() = None;
    }

    /// Deliveries since the first stream opened.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The latency of a delivery counts from the time at which its message should have been sent.
    pub fn receive(&self, number: u64) {
        if let Some(measured) = &*self.measured.read()
            && let Some(index) = number.checked_sub(measured.first)
        {
            measured.recorder.record(measured.row, measured.schedule.at(index), &Ok(()));
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn stream_ended(&self) {
        if let Some(measured) = &*self.measured.read() {
            let ended: Result<(), _> = Err(Failure::Content("further events: the stream ended"));
            measured.recorder.record(measured.row, Instant::now(), &ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(content: &str) -> String {
        serde_json::json!({"id": "65", "content": content, "seq": 3}).to_string()
    }

    #[test]
    fn only_messages_of_the_benchmark_have_a_number() {
        assert_eq!(number(&data(&content(17))), Some(17));
        assert_eq!(number(&data("hello")), None);
        assert_eq!(number(&data("bench x")), None);
        assert_eq!(number("no JSON"), None);
    }

    #[test]
    fn a_delivery_counts_from_the_intended_start_of_its_message_while_it_is_measured() {
        let (deliveries, recorder) = (Deliveries::default(), Arc::new(Recorder::default()));
        deliveries.receive(99);
        let start = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        deliveries.begin(Schedule::new(start, 1.0, Duration::from_secs(10)), 100, "delivery", recorder.clone());
        deliveries.receive(101);
        deliveries.end();
        deliveries.receive(102);
        assert_eq!(deliveries.count(), 3);
        let latency = &recorder.finish().rows[0].1.latency;
        assert!(latency.len() == 1 && (1_990_000..2_500_000).contains(&latency.max()), "{}", latency.max());
    }
}
