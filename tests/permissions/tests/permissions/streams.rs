//! Open streams: everything that arrives was for the user, and every message that the user must receive arrives.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;
use testkit::{Event, Sse};
use tokio::task::JoinHandle;

use crate::act::Kind;
use crate::call::Call;
use crate::case::secrets_in;
use crate::model::{Model, User};

/// How long a message may take to a stream before it counts as lost.
const ARRIVAL: Duration = Duration::from_secs(10);

/// All streams of a case.
#[derive(Default)]
pub struct Streams(Vec<Stream>);

struct Stream {
    user: User,
    session: usize,
    /// None for the stream of all rooms.
    room: Option<usize>,
    events: Arc<Mutex<Vec<Event>>>,
    checked: usize,
    /// The rooms and ids of the messages that must arrive.
    owed: Vec<(usize, String)>,
    reader: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Streams {
    /// Reads a stream in the background.
    pub fn add(&mut self, user: User, session: usize, room: Option<usize>, mut sse: Sse) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let received = events.clone();
        let reader = tokio::spawn(async move {
            while let Some(event) = sse.try_next().await {
                received.lock().push(event);
            }
        });
        self.0.push(Stream { user, session, room, events, checked: 0, owed: Vec::new(), reader });
    }

    /// The last id of the nth stream of all rooms, whoever's it is.
    pub fn last_id(&self, nth: usize) -> Option<String> {
        let all: Vec<&Stream> = self.0.iter().filter(|stream| stream.room.is_none()).collect();
        let stream = all.get(nth.checked_rem(all.len())?)?;
        stream.events.lock().iter().rev().map(|event| event.id.clone()).find(|id| !id.is_empty())
    }

    /// Follows a call that has changed the model. Streams of sessions that have ended are dropped: the services may take
    /// ten seconds to end them.
    pub fn follow(&mut self, call: &Call, model: &Model) {
        self.0.retain(|stream| model.sessions[stream.session].live);
        let Some(room) = call.room else { return };
        match call.kind {
            Kind::Send | Kind::Reply | Kind::SendFile => {
                let Some(message) = model.messages.last() else { return };
                for stream in &mut self.0 {
                    let is_reader = model.rooms[room].members.contains(&stream.user);
                    if is_reader && stream.room.is_none_or(|own| own == room) {
                        stream.owed.push((room, message.id.clone()));
                    }
                }
            }
            Kind::Leave | Kind::RemoveMember => {
                let user = call.user;
                self.0.retain(|stream| (Some(stream.user), stream.room) != (user, Some(room)));
                for stream in self.0.iter_mut().filter(|stream| Some(stream.user) == user) {
                    stream.owed.retain(|(of, _)| *of != room);
                }
            }
            _ => {}
        }
    }

    /// Checks the events that have arrived since the last check.
    pub fn check(&mut self, model: &Model) -> Result<(), TestCaseError> {
        for stream in &mut self.0 {
            let events: Vec<Event> = stream.events.lock()[stream.checked..].to_vec();
            stream.checked += events.len();
            for event in events {
                stream.check(&event, model)?;
            }
        }
        Ok(())
    }

    /// Waits until every message has arrived that must.
    pub async fn complete(&self) -> Result<(), TestCaseError> {
        let arrived = async {
            while self.0.iter().any(|stream| !stream.missing().is_empty()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(ARRIVAL, arrived).await.is_ok();
        let missing: Vec<_> = self.0.iter().map(|stream| (stream.user, stream.missing())).collect();
        prop_assert!(in_time, "messages have not arrived on streams: {:?}", missing);
        Ok(())
    }
}

impl Stream {
    fn missing(&self) -> Vec<String> {
        let events = self.events.lock();
        let has = |id: &String| events.iter().any(|event| event.name == "new_message" && event.data["id"] == **id);
        self.owed.iter().map(|(_, id)| id).filter(|id| !has(id)).cloned().collect()
    }

    fn check(&self, event: &Event, model: &Model) -> Result<(), TestCaseError> {
        let data = &event.data;
        for secret in secrets_in(&data.to_string()) {
            let may = model.may_have_received(self.user, secret);
            prop_assert!(may, "user {} received a secret of another: {:?}", self.user, event);
        }
        let user = |id: &Value| model.people.iter().position(|person| *id == person.id);
        let room = data.get("room_id").and_then(|id| model.rooms.iter().position(|room| *id == room.id));
        if let Some(room) = room {
            prop_assert!(self.room.is_none_or(|own| own == room), "an event of another room: {:?}", event);
            let was_member = model.rooms[room].ever_members.contains(&self.user);
            prop_assert!(was_member, "user {} was never in the room of {:?}", self.user, event);
        }
        match event.name.as_str() {
            "presence" => {
                if let Some(other) = user(&data["user_id"]) {
                    let share = model.direct_room(self.user, other).is_some();
                    prop_assert!(share, "presence of a stranger: {:?}", event);
                }
            }
            "friend_request" => {
                let id = &data["friendship_id"];
                let relation = model.relations.iter().find(|relation| *id == relation.id);
                let is_own = relation.is_some_and(|relation| relation.addressee == self.user);
                prop_assert!(is_own, "a friend request to another: {:?}", event);
            }
            _ => {}
        }
        Ok(())
    }
}
