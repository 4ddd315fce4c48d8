//! The people who listen to streams, and what each stream has received over all its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsource_stream::Event;
use parking_lot::Mutex;

use crate::api::Api;
use crate::http::Failure;
use crate::load::as_client;
use crate::received::{Arrivals, Attempts, Received};
use crate::stream::{Deliveries, EventStream, number};
use crate::target::Service;
use crate::world::{Pair, pair};

/// Streams that a user may hold at a replica (`STREAMS_PER_USER`).
const STREAMS_OF_USER: usize = 20;

/// Both people of an audience open streams.
pub const STREAMS_OF_AUDIENCE: usize = 2 * STREAMS_OF_USER;

/// The pause before a stream comes back that has named none.
const DEFAULT_RETRY: Duration = Duration::from_secs(3);

/// The streams that a scenario opens.
#[derive(Clone, Copy, Debug)]
pub struct StreamKind {
    /// Streams of all rooms of a person instead of one.
    pub all_rooms: bool,
    /// Rooms of each person, at least 1.
    pub rooms: usize,
}

/// Two people, their common rooms, and the messages that both hear.
pub struct Audience {
    pub pair: Pair,
    pub rooms: Vec<i64>,
    attempts: Mutex<Attempts>,
    /// Streams that were opened.
    listeners: AtomicU64,
}

impl Audience {
    /// Two people with a direct room, and with groups of them and a third person.
    pub async fn create(api: &Api, rooms: usize) -> Result<Self, Failure> {
        let pair = pair(api).await?;
        let mut all = vec![pair.room];
        if rooms > 1 {
            let third = api.register("cho").await?;
            for _ in 1..rooms {
                all.push(api.group(&pair.ann, &[&pair.bob, &third]).await?);
            }
        }
        Ok(Self { pair, rooms: all, attempts: Mutex::default(), listeners: AtomicU64::new(0) })
    }

    /// Notes the number of a message before its send.
    pub fn begin_send(&self, number: u64) {
        self.attempts.lock().failed.insert(number);
    }

    /// Notes that a send succeeded.
    pub fn end_send(&self, number: u64) {
        let mut attempts = self.attempts.lock();
        attempts.failed.remove(&number);
        attempts.sent.insert(number);
    }

    /// Whether a message is one of the audience.
    fn hears(&self, number: u64) -> bool {
        let attempts = self.attempts.lock();
        attempts.sent.contains(&number) || attempts.failed.contains(&number)
    }

    pub fn listeners(&self) -> u64 {
        self.listeners.load(Ordering::Relaxed)
    }
}

/// One stream, over all its connections.
pub struct Listener {
    client: usize,
    audience: Arc<Audience>,
    kind: StreamKind,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Empty before the first event with an id.
    last_id: String,
    retry: Duration,
    connections: usize,
    received: Received,
    resyncs: u64,
}

impl Default for Progress {
    fn default() -> Self {
        let (last_id, received) = (String::new(), Received::default());
        Self { last_id, retry: DEFAULT_RETRY, connections: 0, received, resyncs: 0 }
    }
}

impl Listener {
    /// The client's number chooses the person and the replica.
    pub fn new(client: usize, audience: Arc<Audience>, kind: StreamKind) -> Self {
        Self { client, audience, kind, progress: Mutex::default() }
    }

    /// Opens the stream, or continues it after the last event. Each connection goes to the next replica.
    ///
    /// # Errors
    /// Fails if the stream is refused, or is not connected in time.
    pub async fn connect(&self, api: &Api) -> Result<EventStream, Failure> {
        let Pair { ann, bob, room } = &self.audience.pair;
        let person = if self.client.is_multiple_of(2) { ann } else { bob };
        let path = if self.kind.all_rooms { "/messages/stream".to_owned() } else { format!("/messages/stream/{room}") };
        let (last_id, connections) = {
            let progress = self.progress.lock();
            (progress.last_id.clone(), progress.connections)
        };
        let opened = async {
            let mut request = api.get(Service::Chat, &path, person);
            if !last_id.is_empty() {
                request = request.header("Last-Event-ID", last_id);
            }
            EventStream::open(request).await
        };
        let (stream, connected) = as_client(self.client + connections, opened).await?;
        let is_first = self.progress.lock().connect(&connected);
        self.audience.listeners.fetch_add(u64::from(is_first), Ordering::Relaxed);
        Ok(stream)
    }

    /// Reads to the end of the stream.
    pub async fn read(&self, mut stream: EventStream, deliveries: &Deliveries) {
        while let Some(event) = stream.next().await {
            let number = self.progress.lock().receive(&event);
            if let Some(number) = number.filter(|number| self.audience.hears(*number)) {
                deliveries.receive(number);
            }
        }
        deliveries.stream_ended();
    }

    pub fn retry(&self) -> Duration {
        self.progress.lock().retry
    }

    pub fn resyncs(&self) -> u64 {
        self.progress.lock().resyncs
    }

    /// Compares the messages of the audience with those that arrived.
    pub fn arrivals(&self) -> Arrivals {
        self.progress.lock().received.arrivals(&self.audience.attempts.lock())
    }
}

impl Progress {
    /// Returns whether this is the first connection.
    fn connect(&mut self, connected: &Event) -> bool {
        self.follow(connected);
        self.connections += 1;
        self.connections == 1
    }

    /// Returns the number of a message that arrives for the first time.
    fn receive(&mut self, event: &Event) -> Option<u64> {
        self.follow(event);
        self.resyncs += u64::from(event.event == "resync");
        if event.event != "new_message" {
            return None;
        }
        number(&event.data).filter(|number| self.received.add(*number))
    }

    fn follow(&mut self, event: &Event) {
        if !event.id.is_empty() {
            self.last_id.clone_from(&event.id);
        }
        self.retry = event.retry.unwrap_or(self.retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::content;

    fn event(name: &str, id: &str, number: u64) -> Event {
        let data = serde_json::json!({"content": content(number)}).to_string();
        Event { event: name.into(), data, id: id.into(), retry: None }
    }

    #[test]
    fn a_stream_remembers_its_last_id_and_retry() {
        let mut progress = Progress::default();
        progress.connect(&Event { retry: Some(Duration::from_millis(1_500)), ..event("connected", "7", 0) });
        progress.receive(&event("new_message", "8", 1));
        progress.receive(&event("messages_read", "", 0));
        assert_eq!((progress.last_id.as_str(), progress.retry.as_millis()), ("8", 1_500));
    }

    #[test]
    fn a_message_counts_once_over_all_connections() {
        let mut progress = Progress::default();
        assert!(progress.connect(&event("connected", "7", 0)));
        assert_eq!(progress.receive(&event("new_message", "8", 1)), Some(1));
        assert!(!progress.connect(&event("connected", "8", 0)));
        assert_eq!(progress.receive(&event("new_message", "8", 1)), None);
        assert_eq!(progress.receive(&event("message_edited", "9", 2)), None);
        let attempts = Attempts { sent: [1, 2].into(), ..Attempts::default() };
        let Arrivals { expected, received, double, foreign } = progress.received.arrivals(&attempts);
        assert_eq!((expected, received, double, foreign), (2, 1, 1, 0));
    }
}
