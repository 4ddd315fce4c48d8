//! The rooms whose requests wait for each other apart from the queue, because one of them conflicts with other
//! writers or takes too long.

use std::collections::HashMap;

use common::error::Error;
use common::id::RoomId;
use parking_lot::Mutex;

use super::request::WriteRequest;

/// Limit on the rooms that are written apart, each by a task of its own.
const MAX_ROOMS: usize = 64;

/// Limit on the requests that wait for such rooms, about a megabyte. Beyond it, a request is answered 503.
const MAX_REQUESTS: usize = 1_000;

/// The waiting requests by room, in order. A room is here as long as its task runs.
#[derive(Default)]
pub struct Apart(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    rooms: HashMap<RoomId, Vec<WriteRequest>>,
    requests: usize,
}

impl Apart {
    /// Whether no further room can be written apart.
    pub fn is_full(&self) -> bool {
        self.0.lock().rooms.len() >= MAX_ROOMS
    }

    /// From now on the room is written apart, beginning with these requests. Its task takes them with [`next`](Self::next).
    pub fn begin(&self, room: RoomId, requests: Vec<WriteRequest>) {
        let mut waiting = self.0.lock();
        waiting.rooms.insert(room, Vec::new());
        requests.into_iter().for_each(|request| waiting.push(request));
    }

    /// Appends the requests of rooms that are written apart to those that wait. Returns the others.
    pub fn divert(&self, batch: Vec<WriteRequest>) -> Vec<WriteRequest> {
        let mut waiting = self.0.lock();
        let (apart, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|request| waiting.rooms.contains_key(&request.room()));
        apart.into_iter().for_each(|request| waiting.push(request));
        others
    }

    /// The next requests of a room, at most `limit`. `None` ends the task: from then on the room is written by the queue.
    pub fn next(&self, room: RoomId, limit: usize) -> Option<Vec<WriteRequest>> {
        let mut waiting = self.0.lock();
        let queue = waiting.rooms.get_mut(&room)?;
        let next: Vec<WriteRequest> = queue.drain(..queue.len().min(limit)).collect();
        if next.is_empty() {
            waiting.rooms.remove(&room);
            return None;
        }
        waiting.requests -= next.len();
        Some(next)
    }
}

impl Waiting {
    fn push(&mut self, request: WriteRequest) {
        match self.rooms.get_mut(&request.room()) {
            Some(queue) if self.requests < MAX_REQUESTS => {
                queue.push(request);
                self.requests += 1;
            }
            _ => refuse(request),
        }
    }
}

/// Answers 503.
pub fn refuse(request: WriteRequest) {
    request.respond(Err(Error::unavailable("mongodb", "too many requests wait apart from the queue")));
}
