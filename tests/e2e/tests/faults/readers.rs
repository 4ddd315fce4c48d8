//! Readers: one stream for each room on each replica, which reconnects whenever it breaks.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use e2e::Person;
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, TryFutureExt};
use reqwest::Method;
use serde_json::Value;
use testkit::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::load::Room;
use crate::stack::setting;

/// The pause before a broken stream reconnects.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// The deadline for a reader to receive the remaining positions after the last write.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(30);

/// The statuses with which a replica may answer a request for a stream during a fault.
const OPENING_STATUSES: [u16; 2] = [200, 503];

/// One position of a room's log, as a stream delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub position: i64,
    /// The name of the stream event.
    pub name: String,
    /// The id of the message.
    pub message: String,
}

/// A log entry and the time when the reader received it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub entry: LogEntry,
    pub at: Instant,
}

pub struct Reader {
    pub room: i64,
    url: String,
    deliveries: watch::Receiver<Vec<Delivery>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts to read a room from its first position at one replica.
    pub fn start(room: i64, reader: &Person, url: &str) -> Self {
        let client = Client::new(url, reader.client.token());
        let (sender, deliveries) = watch::channel(Vec::new());
        Self { room, url: url.to_owned(), deliveries, task: tokio::spawn(read(client, room, sender)) }
    }

    /// Starts a reader for every room at every replica of chat-service.
    pub fn start_all(rooms: &[Room]) -> Vec<Self> {
        let urls = setting("CHAT_URLS");
        let both = rooms.iter().flat_map(|room| urls.split(',').map(move |url| (room, url)));
        both.map(|(room, url)| Self::start(room.id, &room.people[1], url)).collect()
    }

    /// Waits for this position, and returns all deliveries in their order. Panics if the reader has.
    pub async fn read_to(mut self, position: i64) -> Vec<Delivery> {
        let last = |deliveries: &Vec<Delivery>| deliveries.last().map_or(0, |delivery| delivery.entry.position);
        let complete = self.deliveries.wait_for(|deliveries| last(deliveries) >= position).map_ok(drop);
        let in_time = matches!(tokio::time::timeout(CATCH_UP_DEADLINE, complete).await, Ok(Ok(())));
        let deliveries = self.deliveries.borrow().clone();
        self.task.abort();
        if let Err(ended) = self.task.await
            && ended.is_panic()
        {
            resume_unwind(ended.into_panic());
        }
        let (room, url, last) = (self.room, &self.url, last(&deliveries));
        assert!(in_time, "room {room} at {url}: {last} of {position} in {CATCH_UP_DEADLINE:?}");
        deliveries
    }
}

async fn read(client: Client, room: i64, sender: watch::Sender<Vec<Delivery>>) {
    let path = format!("/api/messages/stream/{room}");
    loop {
        let last = sender.borrow().last().map_or(0, |delivery: &Delivery| delivery.entry.position);
        let request = client.request(Method::GET, &path).header("last-event-id", last.to_string());
        if let Ok(response) = request.send().await {
            let status = response.status().as_u16();
            assert!(OPENING_STATUSES.contains(&status), "a stream of room {room} is answered {status}");
            // The answer 503 contains no events.
            let mut events = response.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                if let Some(entry) = log_entry(&event) {
                    sender.send_modify(|deliveries| deliveries.push(Delivery { entry, at: Instant::now() }));
                }
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// The log entry of a stream event. Events without a position are not part of the log.
fn log_entry(event: &eventsource_stream::Event) -> Option<LogEntry> {
    let field = match event.event.as_str() {
        "new_message" | "message_edited" => "id",
        "message_deleted" => "message_id",
        "resync" => panic!("the server does not know a position that it delivered"),
        _ => return None,
    };
    let data: Value = serde_json::from_str(&event.data).unwrap();
    let message = data[field].as_str().unwrap().to_owned();
    Some(LogEntry {
        position: event.id.split('.').next().unwrap().parse().unwrap(),
        name: event.event.clone(),
        message,
    })
}
