//! Readers: one stream for each room on each replica, which comes back whenever it breaks.

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

/// How soon a reader whose stream broke comes back.
const BACK: Duration = Duration::from_millis(200);

/// How long a reader may need for the rest when nothing is written any more.
const REST: Duration = Duration::from_secs(30);

/// What a position of a room's log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub position: i64,
    pub name: String,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub told: Told,
    pub at: Instant,
}

pub struct Reader {
    pub room: i64,
    url: String,
    seen: watch::Receiver<Vec<Seen>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Reads a room from its first position on, at one replica.
    pub fn start(room: i64, reader: &Person, url: &str) -> Self {
        let client = Client::new(url, reader.client.token());
        let (note, seen) = watch::channel(Vec::new());
        Self { room, url: url.to_owned(), seen, task: tokio::spawn(read(client, room, note)) }
    }

    /// Every room at every replica of chat-service.
    pub fn everywhere(rooms: &[Room]) -> Vec<Self> {
        let urls = setting("CHAT_URLS");
        let both = rooms.iter().flat_map(|room| urls.split(',').map(move |url| (room, url)));
        both.map(|(room, url)| Self::start(room.id, &room.people[1], url)).collect()
    }

    /// Everything up to a position, in the order in which it came.
    pub async fn up_to(mut self, position: i64) -> Vec<Seen> {
        let last = |seen: &Vec<Seen>| seen.last().map_or(0, |seen| seen.told.position);
        let there = self.seen.wait_for(|seen| last(seen) >= position).map_ok(drop);
        let read = matches!(tokio::time::timeout(REST, there).await, Ok(Ok(())));
        let seen = self.seen.borrow().clone();
        self.task.abort();
        assert!(read, "room {} at {}: {} of {position} in {REST:?}", self.room, self.url, last(&seen));
        seen
    }
}

async fn read(client: Client, room: i64, note: watch::Sender<Vec<Seen>>) {
    let path = format!("/api/messages/stream/{room}");
    loop {
        let last = note.borrow().last().map_or(0, |seen: &Seen| seen.told.position);
        let request = client.request(Method::GET, &path).header("last-event-id", last.to_string());
        if let Ok(response) = request.send().await
            && response.status() == 200
        {
            let mut events = response.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                if let Some(told) = told(&event) {
                    note.send_modify(|seen| seen.push(Seen { told, at: Instant::now() }));
                }
            }
        }
        tokio::time::sleep(BACK).await;
    }
}

/// What has a position; the others are not history.
fn told(event: &eventsource_stream::Event) -> Option<Told> {
    let field = match event.event.as_str() {
        "new_message" | "message_edited" => "id",
        "message_deleted" => "message_id",
        "resync" => panic!("a position that was told is none"),
        _ => return None,
    };
    let data: Value = serde_json::from_str(&event.data).unwrap();
    let message = data[field].as_str().unwrap().to_owned();
    Some(Told { position: event.id.parse().unwrap(), name: event.event.clone(), message })
}
