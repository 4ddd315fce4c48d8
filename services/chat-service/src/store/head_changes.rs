//! The changes of heads since the last read, from a change stream of MongoDB.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use common::error::Error;
use common::id::RoomId;
use engines::error::Result;
use mongodb::Collection;
use mongodb::change_stream::ChangeStream;
use serde::Deserialize;

/// Time for which the server waits for a change when there is none.
const AWAIT: Duration = Duration::from_millis(1);

/// Time limit of a read. A server that vanished without closing the connection answers nothing.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Time after which a read stops although there are more changes. The next one continues.
const LONGEST_READ: Duration = Duration::from_secs(1);

/// A reader of the changes. The server reads them from its log of operations, so a read costs nothing for rooms without a
/// change, however many there are.
pub struct HeadChanges {
    stream: ChangeStream<HeadChange>,
}

#[derive(Deserialize)]
struct HeadChange {
    room: RoomId,
    position: i64,
}

impl HeadChanges {
    /// Starts now: a head that is read later is at least as new as the start.
    pub(super) async fn start(heads: Collection<Document>) -> Result<Self> {
        let pipeline = [
            doc! {"$project": {
                "room": "$documentKey._id",
                "position": {"$ifNull": ["$updateDescription.updatedFields.position", "$fullDocument.position"]},
            }},
            // Neither an event of the whole collection nor a change of the last message alone has a position.
            doc! {"$match": {"position": {"$type": "number"}}},
        ];
        let started = tokio::time::timeout(TIMEOUT, heads.watch().pipeline(pipeline).max_await_time(AWAIT)).await;
        Ok(Self { stream: started.map_err(|_| too_slow())??.with_type() })
    }

    /// The newest positions of the rooms that advanced since the last call.
    ///
    /// # Errors
    /// After an error, changes may be missing: the caller starts again and reads the heads.
    pub async fn since_last(&mut self) -> Result<HashMap<RoomId, i64>> {
        let changed = tokio::time::timeout(TIMEOUT, self.read()).await.map_err(|_| too_slow())?;
        if !self.stream.is_alive() {
            return Err(Error::unavailable("mongodb", "the change stream of the heads ended").into());
        }
        changed
    }

    async fn read(&mut self) -> Result<HashMap<RoomId, i64>> {
        let (mut positions, started) = (HashMap::new(), Instant::now());
        while started.elapsed() < LONGEST_READ
            && let Some(HeadChange { room, position }) = self.stream.next_if_any().await?
        {
            let newest = positions.entry(room).or_default();
            *newest = position.max(*newest);
        }
        Ok(positions)
    }
}

fn too_slow() -> Error {
    Error::unavailable("mongodb", "the change stream of the heads does not answer")
}
