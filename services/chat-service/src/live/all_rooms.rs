//! The stream of all rooms of someone.
//!
//! Each room is read as on its own stream: exactly once and in order. What the log says of the reader's own coming and
//! going decides which of it is theirs: nothing between the two. What the store says of it decides whether they get
//! anything at all.

use std::collections::HashMap;

use axum::response::sse::Event;
use common::error::Result;
use common::id::RoomId;
use futures_util::Stream;

use super::cursor::Cursor;
use super::frame::Frame;
use super::hub::Hub;
use super::mailbox::{Mail, Standing};
use super::part::Part;
use super::post::Address;
use crate::store::{Joined, Own, Positions, Snapshots};

/// A reader of all rooms.
pub struct AllRooms {
    hub: Hub,
    address: Address,
    cursor: Cursor,
    rooms: HashMap<RoomId, Place>,
    /// What the client named as its place is none: it begins at the live edge of every room.
    pub lost: bool,
}

/// A reader's place in a room.
struct Place {
    part: Part,
    /// The log tells of a time in which the reader was no member.
    absent: bool,
}

impl AllRooms {
    /// Begins after `since`, or at the live edge of every room. `own` is read after the address was opened.
    pub async fn start(
        hub: &Hub,
        snapshots: &Snapshots,
        address: Address,
        own: &[Own],
        since: Option<&str>,
    ) -> Result<Self> {
        let user = address.user;
        address.watch(own.iter().filter_map(|own| own.room.kind.pair().map(|pair| pair.other(user))));
        let ids: Vec<RoomId> = own.iter().map(|own| own.room.id).collect();
        let mut parts = Part::start_all(hub, &ids, &address).await?;
        let known = match since {
            Some(id) => Cursor::read(snapshots, user, id).await?,
            None => None,
        };
        let resumed = match known {
            Some(cursor) => resume(hub, cursor, own, &mut parts).await?,
            None => None,
        };
        let lost = since.is_some() && resumed.is_none();
        let cursor = match resumed {
            Some(cursor) => cursor,
            None => Cursor::at(snapshots, user, stand_of(&parts)).await?,
        };
        let rooms = parts.into_iter().map(|part| (part.room(), Place { part, absent: false })).collect();
        Ok(Self { hub: hub.clone(), address, cursor, rooms, lost })
    }

    /// The id of the place where the stream starts.
    pub fn id(&self) -> String {
        self.cursor.id()
    }

    /// What happens, in order within each room.
    pub fn events(mut self) -> impl Stream<Item = Result<Event>> {
        async_stream::try_stream! {
            loop {
                let Mail { standing, moved, passing } = self.address.take();
                for (room, standing) in standing {
                    if let Some(created) = self.stand(room, standing).await? {
                        yield created;
                    }
                }
                for room in moved {
                    let frames = match self.rooms.get_mut(&room) {
                        Some(place) => place.part.next().await?,
                        None => continue,
                    };
                    for frame in frames {
                        if self.is_theirs(room, &frame) {
                            let id = self.cursor.move_to(room, frame.position).await?;
                            yield frame.event.clone().id(id);
                        }
                    }
                }
                for event in passing {
                    yield event;
                }
                self.address.arrived().await;
            }
        }
    }

    /// Follows the reader into a room or out of it. Returns what is told of a room that is new to them.
    async fn stand(&mut self, room: RoomId, standing: Standing) -> Result<Option<Event>> {
        match standing {
            Standing::Out => {
                self.rooms.remove(&room);
                Ok(None)
            }
            Standing::In { .. } if self.rooms.contains_key(&room) => Ok(None),
            Standing::In { after, created } => {
                if let Some(mut part) = Part::start(&self.hub, room, &self.address).await? {
                    // Who was here before goes on where they left, and the log says what they missed by right.
                    part.go_to(self.cursor.position(room).unwrap_or(after));
                    self.rooms.insert(room, Place { part, absent: false });
                }
                Ok(created)
            }
        }
    }

    fn is_theirs(&mut self, room: RoomId, frame: &Frame) -> bool {
        let user = self.address.user;
        let Some(place) = self.rooms.get_mut(&room) else { return false };
        if let Some(joined) = frame.moved.as_ref().and_then(|moved| moved.of(user)) {
            place.absent = !joined;
        }
        !place.absent
    }
}

/// Sends every part to its place; none if the cursor names a position that a room does not have.
async fn resume(hub: &Hub, cursor: Cursor, own: &[Own], parts: &mut [Part]) -> Result<Option<Cursor>> {
    let joined: HashMap<RoomId, Joined> = own.iter().map(|own| (own.room.id, own.joined)).collect();
    let known = cursor.positions();
    let place = |part: &Part| known.get(&part.room()).copied().unwrap_or_else(|| beginning(joined.get(&part.room())));
    let ahead: Vec<RoomId> = parts.iter().filter(|part| place(part) > part.position()).map(Part::room).collect();
    let stand = hub.positions(&ahead).await?;
    for part in parts.iter().filter(|part| ahead.contains(&part.room())) {
        let stands_at = stand.get(&part.room()).copied().unwrap_or(0);
        if place(part) > stands_at {
            return Ok(None);
        }
        part.hint(stands_at);
    }
    for part in parts {
        let place = place(part);
        if place != part.position() {
            part.go_to(place);
        }
    }
    Ok(Some(cursor))
}

/// Where a room begins that someone came into since they last read.
fn beginning(joined: Option<&Joined>) -> i64 {
    match joined {
        Some(Joined::At(position)) => position - 1,
        _ => 0,
    }
}

fn stand_of(parts: &[Part]) -> Positions {
    Positions(parts.iter().map(|part| (part.room(), part.position())).collect())
}
